/** What the charts and tables of a result show, as rows of numbers and as people write them. */

import type { Axis, Cost, Fidelity, GroupReport, Merit, Point, Quality } from "../types";

export const whole = (number: number) => number.toLocaleString("en");

/** 0.4973 -> 49.7%. */
export const share = (part: number) => `${(part * 100).toFixed(1)}%`;

/** Three digits that count: 0.873, 12.3, 1,240. */
export function significant(number: number): string {
  if (number === 0) return "0";
  if (Math.abs(number) >= 1000) return whole(Math.round(number));
  return Math.abs(number) < 1e-4 ? number.toExponential(2) : String(Number(number.toPrecision(3)));
}

/** 0.873 -> 0.87 ms, 0.0412 -> 0.041 ms. */
export const milliseconds = (number: number) => `${Number(number.toPrecision(2)) < 10 ? number.toPrecision(2) : number.toFixed(1)} ms`;

export interface CostLine {
  name: string;
  before: number;
  after: number;
  written: (number: number) => string;
}

const COSTS: readonly { name: string; of: (cost: Cost) => number | null; written: (number: number) => string }[] = [
  { name: "Parameters", of: (cost) => cost.parameters, written: whole },
  { name: "MACs", of: (cost) => cost.macs, written: whole },
  { name: "Bytes of the weights", of: (cost) => cost.bytes, written: whole },
  { name: "Bytes of the file", of: (cost) => cost.file_bytes, written: whole },
  { name: "Peak activation bytes", of: (cost) => cost.activation_bytes, written: whole },
  { name: "Latency of one sample", of: (cost) => cost.latency_ms, written: milliseconds },
];

/** The costs that both have. */
export function costLines(before: Cost, after: Cost): CostLine[] {
  return COSTS.flatMap(({ name, of, written }) => {
    const old = of(before);
    const now = of(after);
    return old === null || now === null ? [] : [{ name, before: old, after: now, written }];
  });
}

/** What is left, or nothing to say where there was nothing. */
export const left = (line: CostLine) => (line.before ? share(line.after / line.before) : "–");

/** A row of paired bars. */
export interface Pair {
  name: string;
  before: number;
  after: number;
  note?: string | undefined;
}

/** Channels of each group before and after, in the model's order. */
export const channelPairs = (groups: readonly GroupReport[]): Pair[] =>
  groups.map((group) => ({
    name: group.layers.length > 1 ? `${group.name} +${group.layers.length - 1}` : group.name,
    before: group.channels,
    after: group.channels - group.removed,
    note: group.reason ?? undefined,
  }));

const MERITS: readonly Merit[] = ["accuracy", "agreement", "error", "distance"];
const SHARES: ReadonlySet<Merit> = new Set<Merit>(["accuracy", "agreement"]);

export const merits = (quality: Quality): Merit[] =>
  MERITS.filter((merit) => quality.before[merit] !== null || merit === "distance");

export const isShare = (merit: Merit) => SHARES.has(merit);

/** So much of a scale around equal figures that its lines have different labels. */
export const leastRoom = (merit: Merit, high: number) => (isShare(merit) ? 0.02 : Math.max(Math.abs(high) * 0.1, 1e-6));

export function written(value: number | null | undefined, merit: Merit): string {
  if (value === null || value === undefined) return "not numbers";
  return isShare(merit) ? share(value) : significant(value);
}

export const stages = (quality: Quality): [string, Fidelity][] => [
  ["original", quality.before],
  ["cut", quality.cut],
  ["given back", quality.restored],
];

export const AXES: Record<Axis, string> = {
  parameters: "parameters",
  macs: "MACs",
  bytes: "bytes",
  file: "file size",
  latency: "latency",
};

/** A cut has these in any precision: their picture is of the cuts in floats. */
const OF_THE_CUT: ReadonlySet<Axis> = new Set<Axis>(["parameters", "macs"]);

export interface Placed {
  point: Point;
  x: number;
  y: number;
  /** On the front of this cost. */
  front: boolean;
}

/** The points that have that cost and that merit, the cheapest first. */
export function placed(points: readonly Point[], axis: Axis, merit: Merit): Placed[] {
  return points
    .flatMap((point) => {
      const x = point.shares[axis];
      const y = point.fidelity?.[merit];
      const quantized = point.precision !== "float32";
      if (x === undefined || y === undefined || y === null || (quantized && OF_THE_CUT.has(axis))) return [];
      return [{ point, x, y, front: point.front.includes(axis) }];
    })
    .sort((one, other) => one.x - other.x);
}

export function pointName(point: Point): string {
  if (point.percent === 0 && point.precision === "float32") return "As it was sent";
  const removed = point.percent ? `${Number((point.percent * 100).toFixed(2))}% removed` : "Whole";
  return point.precision === "float32" ? removed : `${removed}, ${point.precision}`;
}

/** What two requests differ in: name, of the one, of the other. */
export function differences(
  one: Record<string, string>,
  other: Record<string, string>,
): [string, string | undefined, string | undefined][] {
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  return names.filter((name) => one[name] !== other[name]).map((name) => [name, one[name], other[name]]);
}

/** Rows of two reports by name; a layer that only one has is 0 in the other. */
export function matched(one: readonly Pair[], other: readonly Pair[]): Pair[] {
  const found = new Map(other.map((pair) => [pair.name, pair.after]));
  const rows = one.map(({ name, after }) => ({ name, before: after, after: found.get(name) ?? 0 }));
  const known = new Set(one.map((pair) => pair.name));
  return [...rows, ...other.filter(({ name }) => !known.has(name)).map(({ name, after }) => ({ name, before: 0, after }))];
}
