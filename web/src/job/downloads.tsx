/** The files of a result, each a button: a link could not send the key. */

import { useState } from "preact/hooks";
import { save } from "../api";
import { Problem, type Trouble, trouble } from "../problem";
import type { Artifact } from "../types";

const NAMES: Record<string, string> = {
  model: "Model",
  quantized: "Quantized model",
  state_dict: "State dict",
  weights: "Weights",
  class_def: "Class file",
  quantized_class_def: "Class file of the quantized model",
  quantized_loader: "Loader of the quantized model",
  onnx: "ONNX",
  plan: "Plan (JSON)",
  report: "Report (JSON)",
  report_html: "Report (HTML)",
  inspection: "Inspection (JSON)",
  curve: "Curve (JSON)",
  curve_html: "Curve (HTML)",
  bundle: "Everything (zip)",
};
/** A sweep has files for each of its points; its curve is where they are picked. */
const OF_A_POINT = /_\d/;

export function Downloads({ txid, artifacts }: { txid: string; artifacts: readonly Artifact[] }) {
  const [busy, setBusy] = useState<string | null>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  const shown = artifacts.filter((artifact) => !OF_A_POINT.test(artifact.name));
  const get = (name: string) => {
    setBusy(name);
    setFailed(null);
    save(txid, name)
      .catch((error: unknown) => setFailed(trouble(error)))
      .finally(() => setBusy(null));
  };
  return (
    <section class="panel" aria-labelledby="downloads-title">
      <h2 id="downloads-title">Download</h2>
      <div class="row wrap">
        {shown.map((artifact, index) => (
          <button
            key={artifact.name}
            type="button"
            class={index === 0 ? "primary" : ""}
            title={artifact.file}
            aria-busy={busy === artifact.name}
            onClick={() => get(artifact.name)}
          >
            {NAMES[artifact.name] ?? artifact.name}
          </button>
        ))}
      </div>
      {failed && <Problem title="The file could not be fetched" of={failed} />}
    </section>
  );
}
