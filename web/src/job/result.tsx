/** What a finished job left: its account as a view, and its files. */

import { useEffect, useState } from "preact/hooks";
import { Refusal, account } from "../api";
import { Frozen, Groups } from "../new/inspection";
import { Problem, type Trouble, trouble } from "../problem";
import { ReportView, SweepView } from "../report";
import type { Artifact, Inspection, Report, Sweep, Task } from "../types";
import { Downloads } from "./downloads";

type Found =
  | { kind: "report"; of: Report }
  | { kind: "curve"; of: Sweep }
  | { kind: "inspection"; of: Inspection };

/** Task -> the artifact that is its account. */
const ACCOUNTS: Record<Task, Found["kind"]> = {
  prune: "report",
  quantize: "report",
  sweep: "curve",
  inspect: "inspection",
};

export function Result({ txid, call }: { txid: string; call: string | undefined }) {
  const [found, setFound] = useState<Found | null>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  useEffect(() => {
    if (call) read(txid, call).then(setFound, (error: unknown) => setFailed(trouble(error)));
  }, [txid, call]);
  if (failed) return <Problem title="The result can't be shown" of={failed} />;
  if (!found) return <p class="note">Reading the report…</p>;
  const artifacts: readonly Artifact[] = found.of.artifacts;
  return (
    <>
      <p class="hidden" role="status">
        The job is done.
      </p>
      <Downloads txid={txid} artifacts={artifacts} />
      {found.kind === "report" && <ReportView report={found.of} txid={txid} />}
      {found.kind === "curve" && <SweepView sweep={found.of} txid={txid} />}
      {found.kind === "inspection" && (
        <section class="panel" aria-labelledby="found-title">
          <h2 id="found-title">What can be pruned</h2>
          <Groups found={found.of} omitted={[]} editable={false} />
          <Frozen found={found.of} />
        </section>
      )}
    </>
  );
}

async function read(txid: string, call: string): Promise<Found> {
  const kind = ACCOUNTS[call.replace(/^.*_/, "") as Task];
  if (kind === undefined) throw new Refusal(`This page knows no call ${call}.`, "unknown_call", undefined, 0);
  return { kind, of: await account<never>(txid, kind) };
}
