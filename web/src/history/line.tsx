/** One job in the list. */

import { useState } from "preact/hooks";
import { jobAddress } from "../route";
import type { Listed } from "../types";
import { percent, size } from "../words";

export interface JobLineProps {
  job: Listed;
  chosen: boolean;
  choose: () => void;
  onCancel: () => void;
  onDelete: () => void;
}

/** Calls whose account is a report or a curve, which can be laid beside another. */
const COMPARED = /_(prune|quantize|sweep)$/;

export function JobLine({ job, chosen, choose, onCancel, onDelete }: JobLineProps) {
  const [sure, setSure] = useState(false);
  const name = job.files.model ?? job.files.weights ?? job.call;
  const active = job.state === "queued" || job.state === "running";
  const what = active ? "Cancel" : "Delete";
  return (
    <li>
      <input
        type="checkbox"
        aria-label={`Compare ${name}, sent ${new Date(job.submitted).toLocaleString()}`}
        checked={chosen}
        disabled={job.state !== "done" || !COMPARED.test(job.call)}
        onChange={choose}
      />
      <div class="what">
        <a href={jobAddress(job.txid)}>{name}</a> <span class={`badge ${job.state}`}>{job.state}</span>{" "}
        {job.progress && <span class="note">{`${job.progress.step}, ${percent(job.progress.fraction)}`}</span>}
        {job.code && <code class="note">{job.code}</code>}
        <div class="note">
          <code>{job.call}</code>
          {Object.entries(job.parameters).map(([parameter, value]) => (
            <code key={parameter}>
              {parameter}={value}
            </code>
          ))}
        </div>
        <div class="note">
          {new Date(job.submitted).toLocaleString()} · {size(job.stored_bytes)}
        </div>
      </div>
      <div class="row">
        {sure ? (
          <>
            <button
              type="button"
              class="danger"
              ref={(button) => button?.focus()}
              onClick={() => (setSure(false), (active ? onCancel : onDelete)())}
            >
              {active ? "Cancel the job" : "Delete it and its files"}
            </button>
            <button type="button" class="quiet" onClick={() => setSure(false)}>
              Keep
            </button>
          </>
        ) : (
          <button type="button" class="quiet" aria-label={`${what} ${name}`} onClick={() => setSure(true)}>
            {what}
          </button>
        )}
      </div>
    </li>
  );
}
