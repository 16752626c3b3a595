/** What to make of the model: the task, and the parameters that its call offers. */

import { type Draft, change, setValue } from "../draft";
import { type Offer, type Offers, callOf } from "../offers";
import type { Task } from "../types";
import { count, described, sentences } from "../words";
import { Field } from "./field";

const TASKS: readonly [Task, string, string][] = [
  ["prune", "Prune", "Take channels away, once."],
  ["sweep", "Sweep", "Try several ratios, compare."],
  ["quantize", "Quantize", "Keep numbers in fewer bits."],
];

/** What is asked beside the files, and what the page itself says. */
const ELSEWHERE = new Set(["model_name", "input_size", "model_args", "model_type", "ommitted", "source_txid"]);
/** What most jobs say; the rest is folded away. */
const FIRST: Record<Task, readonly string[]> = {
  prune: ["percent", "target", "criterion", "spread", "restore", "precision"],
  sweep: ["percents", "precisions", "target", "criterion", "spread", "restore"],
  quantize: ["precision", "activations", "rounding", "max_drop"],
  inspect: [],
};

export function Options({ draft, known, refused }: { draft: Draft; known: Offers; refused: string | undefined }) {
  const call = known[callOf(draft.framework ?? "pt", draft.task)];
  const offered = (call?.parameters ?? []).filter((offer) => !ELSEWHERE.has(offer.name));
  const first = FIRST[draft.task]
    .map((name) => offered.find((offer) => offer.name === name))
    .filter((offer) => offer !== undefined);
  const rest = offered.filter((offer) => !FIRST[draft.task].includes(offer.name));
  const field = (offer: Offer) =>
    offer.name === "percent" ? (
      <Percent key={offer.name} offer={offer} value={draft.values.percent ?? offer.example ?? "0.4"} draft={draft} refused={refused === offer.name} />
    ) : (
      <Field
        key={offer.name}
        offer={offer}
        value={draft.values[offer.name] ?? (offer.name === "percents" ? (offer.example ?? "") : "")}
        onChange={(value) => setValue(offer.name, value)}
        refused={refused === offer.name}
        compact
      />
    );
  return (
    <section class="panel" aria-labelledby="options-title">
      <h2 id="options-title">What to do</h2>
      <fieldset class="tasks">
        <legend class="hidden">Task</legend>
        {TASKS.map(([task, name, what]) => (
          <label key={task}>
            <input
              type="radio"
              name="task"
              value={task}
              checked={draft.task === task}
              onChange={() => change({ task })}
            />
            <span>
              <strong>{name}</strong>
              <small>{what}</small>
            </span>
          </label>
        ))}
      </fieldset>
      <div class="fields two">{first.map(field)}</div>
      <details class="more-options">
        <summary>More options</summary>
        <div class="fields two">{rest.map(field)}</div>
      </details>
    </section>
  );
}

function Percent({ offer, value, draft, refused }: { offer: Offer; value: string; draft: Draft; refused: boolean }) {
  const [help, more] = sentences(offer.description);
  return (
    <div class={`field wide${refused ? " refused" : ""}`}>
      <div class="naming">
        <label for="percent-number">Percent to remove</label>
        <output class="note" for="percent-number">
          {effect(draft, Number(value))}
        </output>
      </div>
      <div class="slider">
        <input
          type="range"
          min="0"
          max="0.95"
          step="0.05"
          value={value}
          aria-label="Fraction to remove"
          onInput={(event) => setValue("percent", event.currentTarget.value)}
        />
        <input
          id="percent-number"
          name="percent"
          inputMode="decimal"
          value={value}
          autocomplete="off"
          aria-describedby="percent-help"
          aria-invalid={refused ? "true" : undefined}
          onInput={(event) => setValue("percent", event.currentTarget.value)}
        />
      </div>
      <div class="help" id="percent-help">
        {described(help)}
        {more && (
          <details>
            <summary>more</summary>
            {described(more)}
          </details>
        )}
      </div>
    </div>
  );
}

/** What an even cut takes, where the model was inspected: the service rounds group by group, so it is about. */
function effect({ inspection, omitted, values }: Draft, share: number): string {
  const even = [undefined, "", "channels"].includes(values.target) && !values.max_drop;
  if (!inspection || !even || !(share >= 0 && share < 1)) return "";
  const { groups } = inspection.of;
  const all = groups.reduce((sum, group) => sum + group.channels, 0);
  const gone = groups
    .filter((group) => !group.layers.some((layer) => omitted.includes(layer)))
    .reduce((sum, group) => sum + Math.round(group.channels * share), 0);
  return `about ${count(gone)} of ${count(all)} channels go`;
}
