/** A job that waits or runs: how far it is, and the steps of its way. */

import { QUEUED, type Status } from "../types";
import { percent } from "../words";

export function ProgressPanel({ status, steps }: { status: Status; steps: string[] }) {
  const { progress } = status;
  const waits = status.status === QUEUED;
  return (
    <section class="panel progress" aria-labelledby="progress-title">
      <h2 id="progress-title">{waits ? "In the queue" : "Running"}</h2>
      {/* Told aloud when the step changes, not at every per cent. */}
      <p class="hidden" role="status">
        {waits ? status.message : `Step: ${progress?.step ?? "starting"}`}
      </p>
      <div class="row">
        <progress aria-label="Progress of the job" value={waits ? undefined : (progress?.fraction ?? 0)} />
        <span class="fraction">{waits ? "" : percent(progress?.fraction ?? 0)}</span>
      </div>
      <p class="note">{waits ? status.message : (progress?.detail ?? "")}&nbsp;</p>
      {steps.length > 0 && (
        <ol class="steps">
          {steps.map((step) => (
            <li key={step} class={step === progress?.step ? "now" : "done"} aria-current={step === progress?.step ? "step" : undefined}>
              {step}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
