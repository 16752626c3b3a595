/** What became of a job: its report, or its curve. */

import "./report.css";
import { useState } from "preact/hooks";
import type { Report, Verification } from "../types";
import { channelPairs, costLines, left, milliseconds, whole } from "./figures";
import { Pairs } from "./pairs";
import { QuantizedView } from "./quantized";
import { Stages } from "./stages";
import { Frozen, Notes } from "./told";

export { SweepView } from "./sweep";

export function ReportView({ report }: { report: Report; txid: string }) {
  const cut = report.request.task !== "quantize";
  return (
    <>
      {cut && <Headline report={report} />}
      {report.warnings.length > 0 && (
        <section class="panel warnings" aria-labelledby="warnings-title">
          <h2 id="warnings-title">Warnings</h2>
          <ul>
            {report.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </section>
      )}
      {cut && report.groups.length > 0 && <Channels report={report} />}
      {cut && report.layers?.length > 0 && <Where report={report} />}
      {report.quality && cut && (
        <section class="panel" aria-labelledby="quality-title">
          <h2 id="quality-title">How good it is</h2>
          <Stages quality={report.quality} />
        </section>
      )}
      {report.quantized && <QuantizedView of={report.quantized} />}
      <Frozen of={report.frozen} />
      {cut && <Check of={report.verification} />}
      <Notes of={report.notes} />
    </>
  );
}

function Headline({ report }: { report: Report }) {
  const lines = costLines(report.before, report.after);
  const channels = report.groups.reduce((sum, group) => sum + group.channels, 0);
  const removed = report.groups.reduce((sum, group) => sum + group.removed, 0);
  return (
    <section class="panel" aria-labelledby="won-title">
      <h2 id="won-title">What was won</h2>
      <dl class="figures">
        {lines.map((line) => (
          <div key={line.name}>
            <dt>{line.name}</dt>
            <dd>
              <strong>{left(line)}</strong> <span class="note">left</span>
              <small>
                {line.written(line.before)} → {line.written(line.after)}
              </small>
            </dd>
          </div>
        ))}
      </dl>
      <p class="note">
        {whole(removed)} of {whole(channels)} channels were removed; they were chosen by <code>{report.criterion}</code>.
        {report.machine &&
          ` Latency: median of runs of both models by turns${
            report.after.latency_spread_ms === null ? "" : ` (middle half within ${milliseconds(report.after.latency_spread_ms)})`
          }, on ${report.machine.threads} thread of ${report.machine.processor}.`}
      </p>
    </section>
  );
}

function Channels({ report }: { report: Report }) {
  const refused = report.groups.filter((group) => group.reason);
  return (
    <section class="panel" aria-labelledby="channels-title">
      <h2 id="channels-title">Channels kept, layer by layer</h2>
      <Pairs
        name="Channels of each group of layers before and after"
        caption="In the model's order; +1 is a layer that keeps the same channels."
        rows={channelPairs(report.groups)}
      />
      {refused.length > 0 && (
        <details>
          <summary>Why some kept more than was asked ({refused.length})</summary>
          <ul class="reasons">
            {refused.map((group) => (
              <li key={group.name}>
                <code>{group.name}</code>: asked {whole(group.asked)}, removed {whole(group.removed)}. {group.reason}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

const WHERE = { parameters: "Parameters", macs: "MACs" } as const;

function Where({ report }: { report: Report }) {
  const [cost, setCost] = useState<keyof typeof WHERE>("parameters");
  return (
    <section class="panel" aria-labelledby="where-title">
      <h2 id="where-title">Where the parameters and MACs are</h2>
      <fieldset class="choice">
        <legend class="hidden">What the bars show</legend>
        {(Object.keys(WHERE) as (keyof typeof WHERE)[]).map((one) => (
          <label key={one}>
            <input type="radio" name="where" checked={cost === one} onChange={() => setCost(one)} />
            {WHERE[one]}
          </label>
        ))}
      </fieldset>
      <Pairs
        key={cost}
        name={`${WHERE[cost]} of each layer before and after`}
        caption={
          cost === "macs" ? "Multiply-accumulates of one sample at the weights of each layer." : "Parameters of each layer."
        }
        rows={report.layers.map(({ name, before, after }) => ({ name, before: before[cost], after: after[cost] }))}
      />
    </section>
  );
}

const CHECKS: Record<Verification["check"], string> = {
  exact: "The cut model gives the outputs of the original with exactly the removed channels zeroed",
  statistics:
    "The cut model gives the outputs of the original with exactly the removed channels zeroed, once statistics over " +
    "channels are held equal in both",
  none: "There was nothing to compare",
};

function Check({ of }: { of: Verification }) {
  return (
    <section class="panel" aria-labelledby="check-title">
      <h2 id="check-title">
        How it was verified <span class={`badge ${of.check === "none" ? "" : "done"}`}>{of.check}</span>
      </h2>
      <p>
        {CHECKS[of.check]}
        {of.max_relative_difference !== null &&
          `: the largest difference is ${of.max_relative_difference.toExponential(1)} of the largest output in ${of.dtype}; ` +
            `${(of.tolerance ?? 0).toExponential(0)} is allowed`}
        .
      </p>
      {of.notes.map((note) => (
        <p class="note" key={note}>
          {note}
        </p>
      ))}
    </section>
  );
}
