/** How good the model was as it was sent, is once cut, and is as it is given back. */

import * as Plot from "@observablehq/plot";
import type { Merit, Quality } from "../types";
import { Chart, type Drawing, Legend } from "./chart";
import { Fidelities } from "./fidelities";
import { isShare, leastRoom, merits, stages, written } from "./figures";

const KINDS = ["after", "one"] as const;
const COLOURS = ["var(--chart-after)", "var(--chart-2)"] as const;

interface Spot {
  stage: string;
  merit: Merit;
  value: number;
}

export function Stages({ quality }: { quality: Quality }) {
  const columns = merits(quality);
  const shown = columns.filter(isShare);
  // Of what is no share, the first alone: two scales in one picture mislead.
  const drawnMerits = shown.length ? shown : columns.slice(0, 1);
  const spots = stages(quality).flatMap(([stage, fidelity]) =>
    drawnMerits.flatMap((merit) => {
      const value = fidelity[merit];
      return value === null ? [] : [{ stage, merit, value }];
    }),
  );
  return (
    <Chart
      name={`${drawnMerits.join(" and ")} of the original, the cut model and the model given back`}
      of={quality}
      draw={(width) => drawn(spots, drawnMerits, width)}
      caption={
        <>
          On {quality.held_out.toLocaleString("en")} samples that nothing was fitted to, of{" "}
          {quality.samples.toLocaleString("en")} that were used; no training.{" "}
          <Legend of={drawnMerits.map((merit, index) => [KINDS[index] ?? "one", merit] as const)} />
        </>
      }
      table={<Fidelities caption="Quality at the three stages" columns={columns} of={stages(quality)} />}
    />
  );
}

function drawn(spots: readonly Spot[], order: readonly Merit[], width: number): Drawing {
  const values = spots.map((spot) => spot.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((high - low) * 0.25, leastRoom(order[0] ?? "accuracy", high));
  const colour = (spot: Spot) => COLOURS[order.indexOf(spot.merit)] ?? COLOURS[0];
  const first = order[0] ?? "accuracy";
  return Plot.plot({
    width,
    height: 230,
    marginTop: 18,
    marginLeft: 60,
    marginRight: 44,
    marginBottom: 32,
    x: { type: "point", domain: ["original", "cut", "given back"], label: null, padding: 0.25, tickSize: 0 },
    y: { domain: [Math.max(0, low - room), high + room], label: null, ticks: 4, tickSize: 0, tickFormat: (value: number) => written(value, first) },
    color: { type: "identity" },
    marks: [
      Plot.gridY({ stroke: "var(--chart-grid)", strokeOpacity: 1, ticks: 4 }),
      Plot.line(spots, { x: "stage", y: "value", z: "merit", stroke: colour, strokeWidth: 2 }),
      Plot.dot(spots, { x: "stage", y: "value", fill: colour, r: 5, symbol: (spot: Spot) => (order.indexOf(spot.merit) ? "diamond" : "circle") }),
      ...order.map((merit, index) =>
        Plot.text(
          spots.filter((spot) => spot.merit === merit),
          { x: "stage", y: "value", text: (spot: Spot) => written(spot.value, merit), dy: index ? -13 : 15, fill: "currentColor", fontSize: 12 },
        ),
      ),
    ],
    symbol: { type: "identity" } as Plot.ScaleOptions,
  }) as Drawing;
}
