/** The files of the job: dropped or chosen, each put where its name says, and movable; and what a PyTorch model needs. */

import { useRef, useState } from "preact/hooks";
import { type Draft, change, place, places, put, setValue, take } from "../draft";
import { FRAMEWORKS, type Offers, callOf } from "../offers";
import { size } from "../words";
import { Field } from "./field";

const FRAMEWORK_NAMES = { pt: "PyTorch", tf: "Keras", onnx: "ONNX" };
const PARTS: Record<string, string> = {
  model: "Model",
  weights: "Weights",
  class_def: "Class file",
  dataset: "Samples",
};

export function Files({ draft, known }: { draft: Draft; known: Offers }) {
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const [strange, setStrange] = useState<string[]>([]);
  const add = async (list: FileList | null | undefined) => setStrange(await place(known, [...(list ?? [])]));
  const filled = Object.keys(draft.files).length > 0;
  const wanted = draft.framework
    ? (known[callOf(draft.framework, "prune")]?.parts ?? []).filter((part) => !(part.name in draft.files))
    : [];
  return (
    <section class="panel" aria-labelledby="files-title">
      <h2 id="files-title">Model</h2>
      <div
        class={`drop${over ? " over" : ""}${filled ? " small" : ""}`}
        onDragOver={(event) => (event.preventDefault(), setOver(true))}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void add(event.dataTransfer?.files);
        }}
      >
        <button type="button" onClick={() => input.current?.click()}>
          {filled ? "Add files" : "Choose files"}
        </button>
        <span class="note">{filled ? "or drop them here" : "or drop them here: a model, and samples if you have some"}</span>
        {!filled && <Kinds known={known} />}
        <input
          ref={input}
          type="file"
          multiple
          hidden
          data-testid="files"
          accept={suffixes(known).join(",")}
          onChange={(event) => {
            void add(event.currentTarget.files);
            event.currentTarget.value = "";
          }}
        />
      </div>
      <div aria-live="polite">
        {strange.length > 0 && (
          <p class="problem">
            {strange.join(", ")}: no kind of file that the service takes. It takes {suffixes(known).join(", ")}.
          </p>
        )}
      </div>
      {filled && (
        <ul class="files">
          {Object.entries(draft.files).map(([part, file]) => (
            <Row key={part} part={part} file={file} draft={draft} known={known} />
          ))}
          {wanted.map((part) => (
            <li key={part.name} class="wanted">
              <span class="part">{PARTS[part.name]}</span>
              <span class="note">
                {part.required ? "needed" : "optional: with samples weights are repaired and quality is measured"} (
                {part.suffixes.join(", ")})
              </span>
            </li>
          ))}
        </ul>
      )}
      {draft.framework && <Model draft={draft} known={known} framework={draft.framework} />}
    </section>
  );
}

function Kinds({ known }: { known: Offers }) {
  return (
    <dl class="kinds">
      {FRAMEWORKS.map((framework) => (
        <div key={framework}>
          <dt>{FRAMEWORK_NAMES[framework]}</dt>
          <dd>
            {(known[callOf(framework, "prune")]?.parts ?? [])
              .filter((part) => part.required)
              .map((part) => part.suffixes.slice(0, 4).join(" "))
              .join(" + ")}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Row({ part, file, draft, known }: { part: string; file: File; draft: Draft; known: Offers }) {
  const others = places(known, file.name).filter((one) => one.part !== "dataset" || part === "dataset" || draft.framework);
  const here = others.findIndex((one) => one.part === part && one.framework === draft.framework);
  const choice = new Map(others.map((one, index) => [`${FRAMEWORK_NAMES[one.framework]} ${PARTS[one.part]?.toLowerCase()}`, index]));
  return (
    <li>
      <span class="part">{PARTS[part]}</span>
      <span class="file">
        <code>{file.name}</code> <span class="note">{size(file.size)}</span>
      </span>
      {choice.size > 1 && (
        <label class="as">
          <span class="hidden">Use {file.name} as</span>
          <select
            value={String(here)}
            onChange={(event) => {
              const to = others[Number(event.currentTarget.value)];
              if (!to) return;
              take(part);
              void put(file, to.part, to.framework);
            }}
          >
            {[...choice].map(([name, index]) => (
              <option key={name} value={String(index)}>
                as {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <button type="button" class="quiet" onClick={() => take(part)} aria-label={`Remove ${file.name}`}>
        Remove
      </button>
    </li>
  );
}

/** What can't be read out of the file: of PyTorch the class, its arguments and the input. */
function Model({ draft, known, framework }: { draft: Draft; known: Offers; framework: keyof typeof FRAMEWORK_NAMES }) {
  const asked = (known[callOf(framework, "prune")]?.parameters ?? []).filter((offer) =>
    ["model_name", "input_size", "model_args"].includes(offer.name),
  );
  if (asked.length === 0) return null;
  return (
    <div class="fields three">
      {asked.map((offer) => (
        <Field
          key={offer.name}
          offer={offer}
          value={draft.values[offer.name] ?? ""}
          onChange={(value) => {
            setValue(offer.name, value);
            change({ inspection: null });
          }}
          suggestions={offer.name === "model_name" ? draft.classes : []}
        />
      ))}
    </div>
  );
}

const suffixes = (known: Offers) => [
  ...new Set(FRAMEWORKS.flatMap((one) => (known[callOf(one, "prune")]?.parts ?? []).flatMap((part) => part.suffixes))),
];
