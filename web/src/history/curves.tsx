/** The curves of two sweeps in one chart, with the points of both as a table. */

import * as Plot from "@observablehq/plot";
import { useState } from "preact/hooks";
import { Chart, Legend } from "../report/chart";
import { AxisChoice, curve } from "../report/curve";
import { AXES, type Placed, placed, pointName, share, written } from "../report/figures";
import type { Axis, Merit, Sweep } from "../types";

/** By colour, and by form for who can't tell the colours. */
const SIDES = [
  { name: "A", stroke: "var(--chart-2)", symbol: "circle", legend: "one" },
  { name: "B", stroke: "var(--chart-3)", symbol: "diamond", legend: "other" },
] as const;

export function Curves({ one, other }: { one: Sweep; other: Sweep }) {
  const merit = one.merit;
  return (
    <section class="panel" aria-labelledby="both-curves">
      <h2 id="both-curves">What each point wins and costs</h2>
      {merit && merit === other.merit ? (
        <Both sweeps={[one, other]} merit={merit} />
      ) : (
        <p>Their quality was not measured by the same figure, so there is nothing to draw: see each by itself.</p>
      )}
    </section>
  );
}

function Both({ sweeps, merit }: { sweeps: readonly [Sweep, Sweep]; merit: Merit }) {
  const of = (axis: Axis) => sweeps.map((sweep) => placed(sweep.points, axis, merit));
  const axes = (Object.keys(AXES) as Axis[]).filter((axis) => of(axis).every((dots) => dots.length > 1));
  const [axis, setAxis] = useState<Axis>(axes[0] ?? "parameters");
  const dots = of(axis);
  return (
    <>
      <AxisChoice axes={axes} axis={axis} choose={setAxis} />
      <Chart
        name={`${merit} of A and B against the ${AXES[axis]} that are left`}
        of={`${axis} ${merit}`}
        draw={(width) => curve(dots.flat(), axis, merit, width, dots.flatMap((points, index) => marks(points, index)))}
        caption={
          <>
            Each on its own samples that nothing was fitted to. A line joins the points on the front of its sweep, which are
            full. <Legend of={SIDES.map(({ name, legend }) => [legend, name] as const)} />
          </>
        }
        table={<Points dots={dots} axis={axis} merit={merit} />}
      />
    </>
  );
}

function marks(dots: readonly Placed[], index: number): Plot.Markish[] {
  const { stroke, symbol } = SIDES[index] ?? SIDES[0];
  return [
    Plot.line(dots.filter((dot) => dot.front), { x: "x", y: "y", stroke, strokeWidth: 2 }),
    Plot.dot(dots, { x: "x", y: "y", stroke, symbol, r: 5, strokeWidth: 2, fill: (dot: Placed) => (dot.front ? stroke : "var(--paper)") }),
  ];
}

function Points({ dots, axis, merit }: { dots: readonly (readonly Placed[])[]; axis: Axis; merit: Merit }) {
  return (
    <table>
      <caption>Points of both sweeps, the smallest first</caption>
      <thead>
        <tr>
          <th scope="col">point</th>
          <th scope="col">sweep</th>
          <th scope="col" class="number">{AXES[axis]}</th>
          <th scope="col" class="number">{merit}</th>
          <th scope="col">on its front</th>
        </tr>
      </thead>
      <tbody>
        {dots.flatMap((points, index) =>
          points.map((dot) => (
            <tr key={`${index} ${pointName(dot.point)}`}>
              <th scope="row">{pointName(dot.point)}</th>
              <td>{SIDES[index]?.name}</td>
              <td class="number">{share(dot.x)}</td>
              <td class="number">{written(dot.y, merit)}</td>
              <td>{dot.front ? "yes" : ""}</td>
            </tr>
          )),
        )}
      </tbody>
    </table>
  );
}
