/** Inspection of the model as soon as it is whole: one job at a time, the one of before stopped and forgotten. */

import { useEffect, useState } from "preact/hooks";
import { Refusal, account, cancel, follow, remove, submit } from "../api";
import { type Draft, change, missing, parametersOf } from "../draft";
import type { Offers } from "../offers";
import { type Trouble, trouble } from "../problem";
import { DONE, type Inspection, type Progress, type Status } from "../types";

export interface Inspecting {
  /** How much of the files is on its way, 0 to 1; null once they are there. */
  sent: number | null;
  progress: Progress | null;
  busy: boolean;
  failed: Trouble | null;
}

const IDLE: Inspecting = { sent: null, progress: null, busy: false, failed: null };
/** What an inspection depends on: the rest says what to do later. */
const ASKED = ["model_type", "input_size", "model_name", "model_args"];
/** Wait for the end of somebody's typing, milliseconds. */
const PAUSE = 600;

export function useInspection(draft: Draft, known: Offers): Inspecting {
  const [state, setState] = useState(IDLE);
  const whole = missing(draft, known, "inspect").length === 0;
  const parameters = Object.fromEntries(
    Object.entries(parametersOf(draft, known, "inspect")).filter(([name]) => ASKED.includes(name)),
  );
  const files = Object.fromEntries(Object.entries(draft.files).filter(([part]) => part !== "dataset"));
  const identity = JSON.stringify([
    parameters,
    Object.entries(files).map(([part, file]) => [part, file.name, file.size, file.lastModified]),
  ]);
  useEffect(() => {
    setState(IDLE);
    if (!whole || draft.inspection) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      setState({ ...IDLE, busy: true });
      inspect(parameters, files, stop.signal, (far) => setState({ ...IDLE, ...far, busy: true })).then(
        (inspection) => {
          if (stop.signal.aborted) return;
          setState(IDLE);
          change({ inspection });
        },
        (error: unknown) => {
          if (!stop.signal.aborted) setState({ ...IDLE, failed: trouble(error) });
        },
      );
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
    // The files and parameters are those that the identity names.
  }, [identity, whole]);
  return state;
}

async function inspect(
  parameters: Record<string, string>,
  files: Record<string, File>,
  signal: AbortSignal,
  tell: (far: Partial<Inspecting>) => void,
): Promise<{ txid: string; of: Inspection }> {
  const txid = await submit("inspect", parameters, files, signal, (sent) => tell({ sent }));
  tell({ sent: null });
  signal.addEventListener("abort", () => void cancel(txid).then(() => remove(txid)).catch(() => {}));
  let last: Status | null = null;
  for await (const status of follow(txid, signal)) {
    last = status;
    tell({ progress: status.progress ?? null });
  }
  if (last?.status !== DONE) {
    throw new Refusal(
      last?.message ?? "The service ended the connection.",
      last?.code ?? "unreachable",
      last?.field,
      0,
      last?.remedy,
      last?.link,
    );
  }
  return { txid, of: await account<Inspection>(txid, "inspection") };
}
