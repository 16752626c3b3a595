/** One job: where it stands while it runs, then what became of it. The address works by itself, after a reload too. */

import { useEffect, useState } from "preact/hooks";
import { cancel, follow, jobs, remove, status as ask } from "../api";
import { useDraft } from "../draft";
import { Problem, type Trouble, trouble } from "../problem";
import { JOBS, NEW } from "../route";
import { Snippets } from "../snippets";
import { DONE, FAILED, type Listed, QUEUED, RUNNING, type Status } from "../types";
import { ProgressPanel } from "./progress";
import { Result } from "./result";

const STATES: Record<number, string> = { 0: "done", 1: "queued", 2: "running", [-1]: "failed", [-2]: "cancelled" };
const TASKS: Record<string, string> = { prune: "Prune", sweep: "Sweep", quantize: "Quantize", inspect: "Inspect" };

export function JobView({ txid }: { txid: string }) {
  const { status, steps, failed } = useJob(txid);
  const [listed, setListed] = useState<Listed | null>(null);
  const [refused, setRefused] = useState<Trouble | null>(null);
  useEffect(() => {
    // What was asked; a job that is not there is told of by its status.
    jobs({ txid }).then((page) => setListed(page.jobs[0] ?? null), () => {});
  }, [txid]);
  const active = status?.status === QUEUED || status?.status === RUNNING;
  const act = (what: Promise<unknown>) => what.catch((error: unknown) => setRefused(trouble(error)));
  return (
    <>
      <div class="title job-title">
        <div>
          <h1>{listed ? (listed.files.model ?? listed.files.weights ?? "Job") : "Job"}</h1>
          <p class="lead">
            {status && (
              <span class={`badge ${STATES[status.status]}`}>{STATES[status.status]}</span>
            )}{" "}
            {listed && (
              <>
                {TASKS[listed.call.replace(/^.*_/, "")]} · sent {new Date(listed.submitted).toLocaleString()} ·{" "}
              </>
            )}
            <code class="txid">{txid}</code>
          </p>
        </div>
        <div class="row">
          {active && (
            <button type="button" onClick={() => void act(cancel(txid))}>
              Cancel the job
            </button>
          )}
          {status && !active && <Again />}
          {status && !active && (
            <Forget onConfirmed={() => void act(remove(txid).then(() => (location.hash = JOBS)))} />
          )}
        </div>
      </div>
      {refused && <Problem title="That did not work" of={refused} />}
      {failed && <Problem title="The job can't be shown" of={failed} />}
      {status && active && <ProgressPanel status={status} steps={steps} />}
      {status?.status === FAILED && <Problem title="The job failed" of={status} />}
      {status && status.status < FAILED && (
        <section class="panel" role="status">
          <p>{status.message}</p>
        </section>
      )}
      {status?.status === DONE && <Result txid={txid} call={listed?.call} />}
      {listed && (
        <section class="panel" aria-labelledby="again-title">
          <h2 id="again-title">The same from a terminal or a program</h2>
          <Snippets call={listed.call} parameters={listed.parameters} files={listed.files} />
        </section>
      )}
    </>
  );
}

/** Back to the form, which still holds the files. */
function Again() {
  const draft = useDraft();
  return (
    <a class="button" href={NEW}>
      {Object.keys(draft.files).length > 0 ? "Change and run again" : "New job"}
    </a>
  );
}

/** Deleting asks once more, in the place where it was clicked. */
function Forget({ onConfirmed }: { onConfirmed: () => void }) {
  const [sure, setSure] = useState(false);
  if (!sure) {
    return (
      <button type="button" class="quiet" onClick={() => setSure(true)}>
        Delete
      </button>
    );
  }
  return (
    <>
      <button type="button" class="danger" onClick={onConfirmed} ref={(button) => button?.focus()}>
        Delete it and its files
      </button>
      <button type="button" class="quiet" onClick={() => setSure(false)}>
        Keep
      </button>
    </>
  );
}

interface Followed {
  status: Status | null;
  /** Names of the steps so far, in their order. */
  steps: string[];
  failed: Trouble | null;
}

/** Between two attempts to follow a job whose connection broke, milliseconds. */
const PATIENCE = 1500;
const ATTEMPTS = 20;

function useJob(txid: string): Followed {
  const [followed, set] = useState<Followed>({ status: null, steps: [], failed: null });
  useEffect(() => {
    const stop = new AbortController();
    const show = (status: Status) =>
      set(({ steps }) => {
        const step = status.progress?.step;
        return { status, failed: null, steps: step && !steps.includes(step) ? [...steps, step] : steps };
      });
    const run = async () => {
      let last: Status | null = null;
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        try {
          for await (const status of follow(txid, stop.signal)) show((last = status));
          // A stream may end with the service that sent it; the job goes on.
          if (last) show((last = await ask(txid, 0, stop.signal)));
          if (last && last.status <= DONE) return;
        } catch (error) {
          if (stop.signal.aborted) return;
          const found = trouble(error);
          if (found.code && found.code !== "unreachable") return set((before) => ({ ...before, failed: found }));
          set((before) => ({ ...before, failed: found }));
        }
        await new Promise((wake) => setTimeout(wake, PATIENCE));
        if (stop.signal.aborted) return;
      }
    };
    void run();
    return () => stop.abort();
  }, [txid]);
  return followed;
}
