/** The quantized file: what it keeps, what its runtime computes, how good it is there. */

import type { Quantized } from "../types";
import { Fidelities } from "./fidelities";
import { type CostLine, left, milliseconds, share, whole } from "./figures";

const COMPUTED = {
  integer: "Every product with weights is computed in whole numbers.",
  mixed: "Some products with weights are computed in whole numbers.",
  float: "Products are computed in floats: the file is small, and takes the time and the memory of floats.",
} as const;

const FIGURES = ["accuracy", "agreement", "error", "distance"] as const;

export function QuantizedView({ of }: { of: Quantized }) {
  const lines: CostLine[] = [
    { name: "Bytes of the file", before: of.float_file_bytes, after: of.file_bytes, written: whole },
  ];
  if (of.latency_ms !== null && of.float_latency_ms !== null)
    lines.push({ name: "Latency of one sample", before: of.float_latency_ms, after: of.latency_ms, written: milliseconds });
  return (
    <section class="panel" aria-labelledby="quantized-title">
      <h2 id="quantized-title">The quantized file</h2>
      <p>
        Weights in {of.weights}, activations in {of.activations}, run by {of.runtime}. {COMPUTED[of.arithmetic]}
      </p>
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
        {of.snr_db !== null && (
          <div>
            <dt>Signal to noise</dt>
            <dd>
              <strong>{of.snr_db.toFixed(1)} dB</strong>
              <small>of its outputs, against the floats'</small>
            </dd>
          </div>
        )}
      </dl>
      {of.fidelity && of.float_fidelity && (
        <Fidelities
          caption="How good the file itself is, in its runtime"
          columns={FIGURES.filter((merit) => of.float_fidelity?.[merit] !== null)}
          of={[
            ["in floats", of.float_fidelity],
            ["quantized", of.fidelity],
          ]}
        />
      )}
      <Types of={of.bytes_by_type} />
      <Layers of={of} />
    </section>
  );
}

function Types({ of }: { of: Record<string, number> }) {
  const total = Object.values(of).reduce((sum, bytes) => sum + bytes, 0) || 1;
  return (
    <table class="types">
      <caption>Bytes of the tensors in the file, by their data type</caption>
      <thead>
        <tr>
          <th scope="col">type</th>
          <th scope="col" class="number">bytes</th>
          <th scope="col" class="number">share</th>
        </tr>
      </thead>
      <tbody>
        {Object.entries(of).map(([type, bytes]) => (
          <tr key={type}>
            <th scope="row">
              {type}
              <span class="bar-of" style={{ width: `${(100 * bytes) / total}%` }} aria-hidden="true" />
            </th>
            <td class="number">{whole(bytes)}</td>
            <td class="number">{share(bytes / total)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Layers({ of }: { of: Quantized }) {
  return (
    <details>
      <summary>Layers by precision ({of.layers.length})</summary>
      <div class="scroll" role="region" aria-label="Layers by precision" tabIndex={0}>
        <table>
          <caption>What the weights of each layer are kept in</caption>
          <thead>
            <tr>
              <th scope="col">layer</th>
              <th scope="col" class="number">weights</th>
              <th scope="col">kept in</th>
              <th scope="col">rounding</th>
              <th scope="col">why otherwise, or in floats</th>
            </tr>
          </thead>
          <tbody>
            {of.layers.map((layer) => (
              <tr key={layer.tensor}>
                <th scope="row">{layer.name}</th>
                <td class="number">{whole(layer.parameters)}</td>
                <td>{layer.precision}</td>
                <td>{layer.rounding ?? ""}</td>
                <td>{layer.reason ?? of.floating[layer.name] ?? ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
