/** What every curve has: quality upwards, a cost of the reader's choice to the right, both with room around them. */

import * as Plot from "@observablehq/plot";
import type { Axis, Merit } from "../types";
import type { Drawing } from "./chart";
import { AXES, leastRoom, written } from "./figures";

export function AxisChoice({ axes, axis, choose }: { axes: readonly Axis[]; axis: Axis; choose: (axis: Axis) => void }) {
  return (
    <fieldset class="choice">
      <legend class="hidden">Cost on the horizontal axis</legend>
      {axes.map((one) => (
        <label key={one}>
          <input type="radio" name="axis" checked={axis === one} onChange={() => choose(one)} />
          {AXES[one]}
        </label>
      ))}
    </fieldset>
  );
}

/** Marks over the scales that fit these places. */
export function curve(
  places: readonly { x: number; y: number }[],
  axis: Axis,
  merit: Merit,
  width: number,
  marks: Plot.Markish[],
): Drawing {
  const values = places.map(({ y }) => y);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((high - low) * 0.08, leastRoom(merit, high));
  return Plot.plot({
    width,
    height: Math.min(380, Math.max(260, width * 0.45)),
    marginTop: 16,
    marginLeft: 60,
    marginRight: 18,
    marginBottom: 50,
    x: {
      domain: [0, Math.max(1, ...places.map(({ x }) => x))],
      label: `${AXES[axis]}, share of the original's`,
      labelAnchor: "center",
      labelArrow: "none",
      labelOffset: 42,
      ticks: 5,
      tickSize: 0,
      tickFormat: (value: number) => `${Math.round(value * 100)}%`,
    },
    y: { domain: [low - room, high + room], label: null, ticks: 5, tickSize: 0, tickFormat: (value: number) => written(value, merit) },
    marks: [
      Plot.gridX({ stroke: "var(--chart-grid)", strokeOpacity: 1, ticks: 5 }),
      Plot.gridY({ stroke: "var(--chart-grid)", strokeOpacity: 1, ticks: 5 }),
      ...marks,
    ],
  }) as Drawing;
}
