/** Numbers, names and descriptions as people read them. */

import type { ComponentChildren } from "preact";

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** 1,234,567 -> 1.2 MB. */
export function size(bytes: number): string {
  let unit = 0;
  let number = bytes;
  while (number >= 1000 && unit < UNITS.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${number.toFixed(unit > 0 && number < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

export const count = (number: number) => number.toLocaleString("en");

/** 0.4213 -> 42 %; small ones with a digit more. */
export function percent(share: number): string {
  const shown = share * 100;
  return `${shown >= 10 || shown === 0 ? shown.toFixed(0) : shown.toFixed(1)} %`;
}

/** round_to -> Round to. */
export const label = (name: string) => `${name.charAt(0).toUpperCase()}${name.slice(1)}`.replaceAll("_", " ");

/** A description, with what stands in backticks as code. */
export function described(text: string): ComponentChildren {
  return text.split("`").map((piece, index) => (index % 2 ? <code key={index}>{piece}</code> : piece));
}

/** Its first sentence, and the rest. A point within a number or a name of a file ends none. */
export function sentences(text: string): [string, string] {
  const match = /^(.*?[.])\s+(?=[A-Z`])(.*)$/s.exec(text);
  return match ? [match[1] ?? text, match[2] ?? ""] : [text, ""];
}
