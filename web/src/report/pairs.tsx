/** Paired bars, a row for each layer: its name and numbers above its bars, so that it fits a phone. */

import * as Plot from "@observablehq/plot";
import { Chart, type Drawing, Legend } from "./chart";
import { type Pair, whole } from "./figures";

/** More rows than these scroll within their frame. */
const TALL = 24;
/** Heights of a line of text, and of its letters; the width of a digit; pixels. */
const TEXT = 15;
const SIZE = 12;
const LETTER = 7.5;

export interface PairsProps {
  name: string;
  caption: string;
  rows: readonly Pair[];
  names?: readonly [string, string];
  /** Two things side by side, and not what is left of one. */
  apart?: boolean;
}

export function Pairs({ name, caption, rows, names = ["before", "after"], apart = false }: PairsProps) {
  const kinds = apart ? (["one", "other"] as const) : (["before", "after"] as const);
  return (
    <Chart
      name={name}
      of={rows}
      tall={rows.length > TALL}
      draw={(width) => drawn(rows, width, apart)}
      caption={
        <>
          {caption} <Legend of={kinds.map((kind, index) => [kind, names[index] ?? ""] as const)} />
        </>
      }
      table={<PairTable caption={name} rows={rows} names={names} apart={apart} />}
    />
  );
}

function PairTable({ caption, rows, names, apart }: { caption: string; rows: readonly Pair[]; names: readonly [string, string]; apart: boolean }) {
  return (
    <table>
      <caption>{caption}</caption>
      <thead>
        <tr>
          <th scope="col">layer</th>
          <th scope="col" class="number">{names[0]}</th>
          <th scope="col" class="number">{names[1]}</th>
          {!apart && <th scope="col" class="number">left</th>}
          {rows.some((row) => row.note) && <th scope="col">why not more</th>}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.name}>
            <th scope="row">{row.name}</th>
            <td class="number">{whole(row.before)}</td>
            <td class="number">{whole(row.after)}</td>
            {!apart && <td class="number">{row.before ? `${((row.after / row.before) * 100).toFixed(1)}%` : "–"}</td>}
            {rows.some((one) => one.note) && <td>{row.note ?? ""}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function drawn(rows: readonly Pair[], width: number, apart: boolean): Drawing {
  const row = apart ? 44 : 38;
  const most = Math.max(1, ...rows.map((pair) => Math.max(pair.before, pair.after)));
  const numbers = (pair: Pair) => [pair.before, pair.after].map(whole).join(apart ? " · " : " → ");
  const longest = Math.max(...rows.map((pair) => numbers(pair).length));
  const places = rows.map((_, index) => index);
  // Of Plot's own bars only the insets within a row are ours.
  const bar = (of: (pair: Pair) => number, fill: string, line: number, stroke?: string) =>
    Plot.barX(rows, {
      x: of,
      y: (_pair: Pair, index: number) => index,
      fill,
      ...(stroke && { stroke }),
      rx: 2,
      insetTop: TEXT + 3 + line * 9,
      insetBottom: apart ? 17 - line * 9 : 10,
    });
  const words = { y: (_pair: Pair, index: number) => index, dy: -(row / 2) + TEXT / 2 + 2, fill: "currentColor", fontSize: SIZE };
  return Plot.plot({
    width,
    height: rows.length * row,
    margin: 0,
    marginRight: 1,
    x: { domain: [0, most], axis: null },
    y: { domain: places, axis: null, padding: 0 },
    marks: [
      bar((pair) => pair.before, apart ? "var(--chart-2)" : "var(--chart-before)", 0, apart ? undefined : "var(--line-strong)"),
      bar((pair) => pair.after, apart ? "var(--chart-3)" : "var(--chart-after)", apart ? 1 : 0),
      Plot.text(rows, {
        ...words,
        text: (pair: Pair) => pair.name,
        title: (pair: Pair) => pair.name,
        frameAnchor: "left",
        textOverflow: "ellipsis-start",
        lineWidth: Math.max(8, (width - longest * LETTER - 12) / SIZE),
      }),
      Plot.text(rows, {
        ...words,
        text: numbers,
        frameAnchor: "right",
        fontVariant: "tabular-nums",
      }),
    ],
  }) as Drawing;
}
