/** One's own jobs: what each was asked, where it stands, what to do with it; two of them side by side. */

import { useEffect, useState } from "preact/hooks";
import { cancel, jobs, remove } from "../api";
import { Problem, type Trouble, trouble } from "../problem";
import { NEW, compareAddress } from "../route";
import type { Listed, State } from "../types";
import { JobLine } from "./line";

export { Compare } from "./compare";

const STATES: readonly State[] = ["queued", "running", "done", "failed", "cancelled", "expired"];
const PAGE = "20";
/** While a job of the list is under way it is asked for again so often, milliseconds. */
const AGAIN = 3000;
const UNDER_WAY: readonly State[] = ["queued", "running"];

export function History() {
  const [state, setState] = useState<State | "">("");
  const [pages, setPages] = useState<string[]>([""]);
  const [shown, setShown] = useState<{ jobs: Listed[]; next: string | undefined } | null>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  const [chosen, setChosen] = useState<string[]>([]);
  const [turn, setTurn] = useState(0);
  const after = pages[pages.length - 1] ?? "";
  useEffect(() => {
    let current = true;
    jobs({ limit: PAGE, ...(state && { state }), ...(after && { after }) }).then(
      (page) => current && (setShown({ jobs: page.jobs, next: page.next }), setFailed(null)),
      (error: unknown) => current && setFailed(trouble(error)),
    );
    return () => void (current = false);
  }, [state, after, turn]);
  const moving = shown?.jobs.some((job) => UNDER_WAY.includes(job.state)) ?? false;
  useEffect(() => {
    if (!moving) return;
    const timer = setInterval(() => setTurn((before) => before + 1), AGAIN);
    return () => clearInterval(timer);
  }, [moving]);
  const act = (what: Promise<unknown>) =>
    what.then(() => setTurn((before) => before + 1), (error: unknown) => setFailed(trouble(error)));
  const choose = (txid: string) =>
    setChosen((before) => (before.includes(txid) ? before.filter((one) => one !== txid) : [...before, txid].slice(-2)));
  const [first, second] = chosen;
  return (
    <>
      <div class="filters">
        <div>
          <h1>Jobs</h1>
          <p class="lead">Choose two that are done to compare them.</p>
        </div>
        <div class="row wrap">
          <label class="hidden" for="state-filter">
            State
          </label>
          <select
            id="state-filter"
            value={state}
            onChange={(event) => (setState(event.currentTarget.value as State | ""), setPages([""]))}
          >
            <option value="">All states</option>
            {STATES.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
          <button
            type="button"
            class="primary"
            disabled={!first || !second}
            onClick={() => first && second && (location.hash = compareAddress(first, second))}
          >
            Compare {chosen.length} of 2
          </button>
        </div>
      </div>
      {failed && <Problem title="That did not work" of={failed} />}
      <section class="panel" aria-label="Your jobs">
        {!shown && !failed && <p class="note">Reading…</p>}
        {shown?.jobs.length === 0 && (
          <p>
            No jobs{state && ` that are ${state}`}. <a href={NEW}>Send one.</a>
          </p>
        )}
        <ul class="jobs">
          {shown?.jobs.map((job) => (
            <JobLine
              key={job.txid}
              job={job}
              chosen={chosen.includes(job.txid)}
              choose={() => choose(job.txid)}
              onCancel={() => void act(cancel(job.txid))}
              onDelete={() => void act(remove(job.txid).then(() => setChosen((before) => before.filter((one) => one !== job.txid))))}
            />
          ))}
        </ul>
      </section>
      {(pages.length > 1 || shown?.next) && (
        <nav class="row" aria-label="Pages of jobs">
          <button type="button" disabled={pages.length === 1} onClick={() => setPages(pages.slice(0, -1))}>
            Newer
          </button>
          <button type="button" disabled={!shown?.next} onClick={() => shown?.next && setPages([...pages, shown.next])}>
            Older
          </button>
        </nav>
      )}
    </>
  );
}
