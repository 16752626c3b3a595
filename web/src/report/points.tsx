/** The points of a sweep as a table: what the curve shows, for who reads, and a way to each point's files. */

import type { Axis, Point, Sweep } from "../types";
import { AXES, pointName, share, written } from "./figures";

export function PointTable({ sweep, choose }: { sweep: Sweep; choose: (point: Point) => void }) {
  const axes = (Object.keys(AXES) as Axis[]).filter((axis) => sweep.points.some((point) => axis in point.shares));
  const { merit } = sweep;
  return (
    <div class="scroll" role="region" aria-label="Points of the curve" tabIndex={0}>
      <table>
        <caption>What is left of each cost{merit && ", and how good the model is"}</caption>
        <thead>
          <tr>
            <th scope="col">point</th>
            {axes.map((axis) => (
              <th scope="col" class="number" key={axis}>
                {AXES[axis]}
              </th>
            ))}
            {merit && <th scope="col" class="number">{merit} as cut</th>}
            {merit && <th scope="col" class="number">given back</th>}
            {merit && <th scope="col">optimal</th>}
            <th scope="col">files</th>
          </tr>
        </thead>
        <tbody>
          {sweep.points.map((point) => (
            <tr key={pointName(point)}>
              <th scope="row">{pointName(point)}</th>
              {axes.map((axis) => (
                <td class="number" key={axis}>
                  {point.shares[axis] === undefined ? "–" : share(point.shares[axis])}
                </td>
              ))}
              {merit && <td class="number">{point.cut ? written(point.cut[merit], merit) : "–"}</td>}
              {merit && <td class="number">{point.fidelity ? written(point.fidelity[merit], merit) : "–"}</td>}
              {merit && <td>{point.optimal ? "yes" : ""}</td>}
              <td>
                {point.error?.message ??
                  (point.artifacts.length > 0 && (
                    <button type="button" class="small" aria-label={`Files of: ${pointName(point)}`} onClick={() => choose(point)}>
                      Files
                    </button>
                  ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
