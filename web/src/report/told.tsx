/** What stays whole and why, and what else there is to say. */

import type { FrozenReport } from "../types";
import { whole } from "./figures";

export function Frozen({ of }: { of: readonly FrozenReport[] }) {
  if (of.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="frozen-title">
      <h2 id="frozen-title">What stays whole</h2>
      <ul class="reasons">
        {of.map((one) => (
          <li key={`${one.layers.join()} ${one.reason}`}>
            <code>{one.layers.join(", ")}</code>, {whole(one.channels)} channels: {one.reason}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Notes({ of }: { of: readonly string[] }) {
  if (of.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="notes-title">
      <h2 id="notes-title">Notes</h2>
      <ul class="reasons">
        {of.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </section>
  );
}
