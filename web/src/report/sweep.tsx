/** The curve of a sweep: quality against a cost of one's choice, each point a button with its files. */

import * as Plot from "@observablehq/plot";
import { useState } from "preact/hooks";
import { save } from "../api";
import { Problem, type Trouble, trouble } from "../problem";
import type { Axis, Merit, Point, Sweep } from "../types";
import { Chart, type Drawing, Legend } from "./chart";
import { AxisChoice, curve } from "./curve";
import { AXES, type Placed, placed, pointName, share, written } from "./figures";
import { PointTable } from "./points";
import { Frozen, Notes } from "./told";

export function SweepView({ sweep, txid }: { sweep: Sweep; txid: string }) {
  const [chosen, choose] = useState<Point | null>(null);
  const merit = sweep.merit;
  return (
    <>
      <section class="panel" aria-labelledby="curve-title">
        <h2 id="curve-title">What each point wins and costs</h2>
        {merit ? (
          <Curve sweep={sweep} merit={merit} chosen={chosen} choose={choose} />
        ) : (
          <p>No samples were sent, so nothing is known of quality: the costs are in the table.</p>
        )}
        {chosen && <Details point={chosen} merit={merit} txid={txid} />}
      </section>
      <section class="panel" aria-labelledby="points-title">
        <h2 id="points-title">The points</h2>
        <PointTable sweep={sweep} choose={choose} />
        {chosen && !merit && <Details point={chosen} merit={merit} txid={txid} />}
      </section>
      <Frozen of={sweep.frozen} />
      <Notes of={sweep.notes} />
    </>
  );
}

interface CurveProps {
  sweep: Sweep;
  merit: Merit;
  chosen: Point | null;
  choose: (point: Point) => void;
}

function Curve({ sweep, merit, chosen, choose }: CurveProps) {
  const axes = (Object.keys(AXES) as Axis[]).filter((axis) => placed(sweep.points, axis, merit).length > 1);
  const [axis, setAxis] = useState<Axis>(axes[0] ?? "parameters");
  const dots = placed(sweep.points, axis, merit);
  const told = (dot: Placed) => `${pointName(dot.point)}: ${share(dot.x)} of the ${AXES[axis]}, ${merit} ${written(dot.y, merit)}`;
  return (
    <>
      <AxisChoice axes={axes} axis={axis} choose={setAxis} />
      <Chart
        name={`${merit} against the ${AXES[axis]} that are left, ${dots.length} points`}
        of={`${axis} ${merit}`}
        draw={(width) => drawn(dots, axis, merit, width)}
        caption={
          <>
            Quality is {merit} on {(sweep.held_out ?? 0).toLocaleString("en")} samples that nothing was fitted to. On the front, no other
            point is as good and as cheap. Choose a point for its files.{" "}
            <Legend of={[["after round", "on the front"], ["before round", "others"], ["dashes", "cut, before repair"]]} />
          </>
        }
        over={(drawing) =>
          dots.map((dot) => (
            <button
              key={pointName(dot.point)}
              type="button"
              class={`dot ${dot.front ? "front" : ""} ${dot.x > 0.4 ? "leftwards" : ""}`}
              style={{ left: `${drawing.scale("x")?.apply(dot.x) ?? 0}px`, top: `${drawing.scale("y")?.apply(dot.y) ?? 0}px` }}
              aria-label={told(dot)}
              aria-pressed={chosen === dot.point}
              onClick={() => choose(dot.point)}
            >
              <span class="tip" aria-hidden="true">
                {told(dot)}
              </span>
            </button>
          ))
        }
      />
    </>
  );
}

function drawn(dots: readonly Placed[], axis: Axis, merit: Merit, width: number): Drawing {
  const cuts = dots.flatMap(({ point, x }) => {
    const y = point.cut?.[merit];
    return y === undefined || y === null ? [] : [{ x, y }];
  });
  return curve([...dots, ...cuts], axis, merit, width, [
    Plot.line(cuts, { x: "x", y: "y", stroke: "var(--ink-3)", strokeDasharray: "4 4", strokeWidth: 1.5 }),
    Plot.line(dots.filter((dot) => dot.front), { x: "x", y: "y", stroke: "var(--chart-after)", strokeWidth: 2 }),
  ]);
}

function Details({ point, merit, txid }: { point: Point; merit: Merit | null; txid: string }) {
  const [failed, setFailed] = useState<Trouble | null>(null);
  const get = (artifact: string) => {
    setFailed(null);
    save(txid, artifact).catch((error: unknown) => setFailed(trouble(error)));
  };
  return (
    <div class="chosen" role="status">
      <h3>
        {pointName(point)} {point.optimal && <span class="badge done">optimal</span>}
      </h3>
      <p class="note">
        {Object.entries(point.shares)
          .map(([axis, part]) => `${AXES[axis as Axis]} ${share(part)}`)
          .join(", ")}
        {merit && point.fidelity && `; ${merit} ${written(point.fidelity[merit], merit)}`}
        {merit && point.cut && ` (${written(point.cut[merit], merit)} as cut)`}
      </p>
      {point.error && <p>{point.error.message}</p>}
      <div class="row wrap">
        {point.artifacts.map((artifact, index) => (
          <button key={artifact} type="button" class={index ? "" : "primary"} onClick={() => get(artifact)}>
            Download {artifact}
          </button>
        ))}
      </div>
      {failed && <Problem title="The file could not be fetched" of={failed} />}
    </div>
  );
}
