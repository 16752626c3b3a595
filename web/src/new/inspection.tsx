/** What could be pruned of the model: groups to keep whole by a click, and what stays in any case, with the reason. */

import { useState } from "preact/hooks";
import { type Draft, toggleOmitted } from "../draft";
import { Problem } from "../problem";
import type { GroupReport, Inspection } from "../types";
import { count, percent } from "../words";
import type { Inspecting } from "./inspecting";
import { Sent } from "./sent";

export function InspectionPanel({ draft, state }: { draft: Draft; state: Inspecting }) {
  const found = draft.inspection?.of;
  const step = state.progress?.step;
  if (!found && !state.busy && !state.failed) return null;
  return (
    <section class="panel" aria-labelledby="inspection-title" aria-busy={state.busy}>
      <h2 id="inspection-title">What can be pruned</h2>
      <p class="note" aria-live="polite">
        {state.busy && (state.sent === null ? `Inspecting${step ? `: ${step}` : ""}…` : "Sending the files…")}
        {found && overview(found)}
      </p>
      {state.busy && state.sent === null && <progress aria-label="Inspection" value={state.progress?.fraction} />}
      {state.busy && state.sent !== null && <Sent fraction={state.sent} />}
      {state.failed && <Problem title="The model could not be inspected" of={state.failed} />}
      {found && <Groups found={found} omitted={draft.omitted} editable={draft.task !== "quantize"} />}
      {found && <Frozen found={found} />}
      {found?.notes.map((note) => (
        <p class="note" key={note}>
          {note}
        </p>
      ))}
    </section>
  );
}

function overview(found: Inspection): string {
  const channels = found.groups.reduce((sum, group) => sum + group.channels, 0);
  return (
    `${count(found.parameters)} parameters, ${count(found.macs)} multiply-accumulates; ` +
    `${count(channels)} channels in ${found.groups.length} groups can go.`
  );
}

/** Also what `#/jobs/TXID` shows of an inspection; there nothing can be chosen. */
export function Groups({ found, omitted, editable }: { found: Inspection; omitted: string[]; editable: boolean }) {
  if (found.groups.length === 0) return <p>No group of channels of this model can be pruned.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Groups of channels">
      <table>
        {editable && <caption>Click a layer to keep all its channels: its group stays whole.</caption>}
        <thead>
          <tr>
            <th scope="col">Layers</th>
            <th scope="col" class="number">
              Channels
            </th>
            <th scope="col" class="number">
              Parameters
            </th>
            <th scope="col" class="number">
              MACs
            </th>
          </tr>
        </thead>
        <tbody>
          {found.groups.map((group) => (
            <Group key={group.name} group={group} omitted={omitted} editable={editable} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A group of a deep model has dozens of layers; so many are shown at once. */
const SHOWN = 6;

function Group({ group, omitted, editable }: { group: GroupReport; omitted: string[]; editable: boolean }) {
  const [all, setAll] = useState(false);
  const kept = group.layers.some((layer) => omitted.includes(layer));
  const shown = all ? group.layers : group.layers.slice(0, SHOWN);
  return (
    <tr class={kept ? "kept" : ""}>
      <th scope="row">
        <span class="chips">
          {shown.map((layer) =>
            editable ? (
              <button
                key={layer}
                type="button"
                class="chip"
                aria-pressed={omitted.includes(layer)}
                title={`Keep ${layer} whole`}
                onClick={() => toggleOmitted(layer)}
              >
                {layer}
              </button>
            ) : (
              <code key={layer}>{layer}</code>
            ),
          )}
          {shown.length < group.layers.length && (
            <button type="button" class="quiet" onClick={() => setAll(true)}>
              {group.layers.length - shown.length} more
            </button>
          )}
        </span>
        {(kept || group.reason) && <small>{kept ? "stays whole, as you say" : group.reason}</small>}
      </th>
      <td class="number">{count(group.channels)}</td>
      <Share of={group.parameters} />
      <Share of={group.macs} />
    </tr>
  );
}

function Share({ of }: { of: number | null }) {
  return (
    <td class="number share">
      {of === null ? "–" : percent(of)}
      <span class="meter" aria-hidden="true">
        <span style={{ width: `${Math.min(1, of ?? 0) * 100}%` }} />
      </span>
    </td>
  );
}

export function Frozen({ found }: { found: Inspection }) {
  if (found.frozen.length === 0) return null;
  return (
    <details class="frozen" open={found.groups.length === 0}>
      <summary>
        What stays in any case <span class="note">({found.frozen.length})</span>
      </summary>
      <ul>
        {found.frozen.map((one) => (
          <li key={`${one.layers.join()} ${one.reason}`}>
            <span class="chips">
              {one.layers.slice(0, SHOWN).map((layer) => (
                <code key={layer}>{layer}</code>
              ))}
              {one.layers.length > SHOWN && <span class="note">and {one.layers.length - SHOWN} more</span>}
            </span>
            <span class="note">
              {count(one.channels)} channels: {one.reason}
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}
