/** The job that is being put together: it outlives the view, so that a reader comes back to it from a finished job. */

import { useEffect, useState } from "preact/hooks";
import { FRAMEWORKS, type Offers, callOf } from "./offers";
import type { Framework, Inspection, Task } from "./types";

export interface Draft {
  framework: Framework | null;
  /** Part -> its file. */
  files: Record<string, File>;
  task: Task;
  /** Parameter -> what was typed or chosen. */
  values: Record<string, string>;
  /** Layers that keep their channels. */
  omitted: string[];
  /** Classes and functions that the class file defines. */
  classes: string[];
  inspection: { txid: string; of: Inspection } | null;
}

const EMPTY: Draft = {
  framework: null,
  files: {},
  task: "prune",
  values: {},
  omitted: [],
  classes: [],
  inspection: null,
};

let draft = EMPTY;
const changes = new EventTarget();

export function useDraft(): Draft {
  const [shown, show] = useState(draft);
  useEffect(() => {
    const changed = () => show(draft);
    changed();
    changes.addEventListener("draft", changed);
    return () => changes.removeEventListener("draft", changed);
  }, []);
  return shown;
}

export function change(more: Partial<Draft>): void {
  draft = { ...draft, ...more };
  changes.dispatchEvent(new Event("draft"));
}

export const setValue = (name: string, value: string) => change({ values: { ...draft.values, [name]: value } });

export const clear = () => change(EMPTY);

export function toggleOmitted(layer: string): void {
  const omitted = draft.omitted.includes(layer)
    ? draft.omitted.filter((one) => one !== layer)
    : [...draft.omitted, layer];
  change({ omitted });
}

/** Where a file of that name can go: framework and part, the likeliest first. */
export function places(known: Offers, name: string): { framework: Framework; part: string }[] {
  const suffix = /\.[^.]+$/.exec(name.toLowerCase())?.[0] ?? "";
  return FRAMEWORKS.flatMap((framework) =>
    (known[callOf(framework, "prune")]?.parts ?? [])
      .filter((part) => part.suffixes.includes(suffix))
      .map((part) => ({ framework, part: part.name })),
  );
}

/** Samples have the suffixes of weights, too; people name them so that they know them apart. */
const SAMPLES = /load|data|sample|train|test|valid|calib/i;

/** Put files where they belong; returns the names of those that belong nowhere. */
export async function place(known: Offers, given: readonly File[]): Promise<string[]> {
  const strange: string[] = [];
  for (const file of given) {
    const found = places(known, file.name);
    const samples = found.filter(({ part }) => part === "dataset");
    const models = found.filter(({ part }) => part !== "dataset");
    const likely = SAMPLES.test(file.name) || "weights" in draft.files || models.length === 0 ? samples : models;
    const here = (likely.length ? likely : found).find(({ framework }) => framework === draft.framework);
    const to = here ?? likely[0] ?? models[0];
    if (!to) strange.push(file.name);
    else await put(file, to.part, to.part === "dataset" ? draft.framework : to.framework);
  }
  return strange;
}

export async function put(file: File, part: string, framework: Framework | null): Promise<void> {
  const other = framework !== draft.framework && draft.framework !== null;
  const kept = other ? Object.fromEntries(Object.entries(draft.files).filter(([name]) => name === "dataset")) : draft.files;
  const files = { ...kept, [part]: file };
  change({ framework, files, inspection: null, omitted: [] });
  if (part === "class_def") {
    const classes = definitions(await file.text());
    const named = draft.values.model_name;
    change({ classes });
    if (classes[0] && !(named && classes.includes(named))) setValue("model_name", classes[0]);
  }
}

export function take(part: string): void {
  const { [part]: _gone, ...files } = draft.files;
  const models = Object.keys(files).some((name) => name !== "dataset");
  const reset = part === "dataset" ? {} : { inspection: null, omitted: [] };
  change({ files, ...reset, ...(models ? {} : { framework: null }) });
}

/** What a class file defines at its top level, the likeliest model first: the last class that is a Module. */
export function definitions(text: string): string[] {
  const classes = [...text.matchAll(/^class\s+(\w+)\s*(?:\(([^)]*)\))?\s*:/gm)].map((match) => ({
    name: match[1] ?? "",
    module: /Module|Model/.test(match[2] ?? ""),
  }));
  const modules = classes.filter((one) => one.module).reverse();
  const others = classes.filter((one) => !one.module);
  const functions = [...text.matchAll(/^def\s+([a-z]\w*)\s*\(/gm)].map((match) => match[1] ?? "");
  return [...modules.map((one) => one.name), ...others.map((one) => one.name), ...functions];
}

/** The parameters of the call, without those that say nothing. */
export function parametersOf(shown: Draft, known: Offers, task: Task): Record<string, string> {
  if (!shown.framework) return {};
  const taken = known[callOf(shown.framework, task)]?.parameters ?? [];
  const said: Record<string, string> = { ...shown.values, ommitted: shown.omitted.join(",") };
  if (task === "inspect") said.model_type = shown.framework;
  const found: Record<string, string> = {};
  for (const offer of taken) {
    const value = said[offer.name] ?? (offer.required && !shown.values[offer.name] ? defaultOf(offer.name, offer.example) : "");
    if (value.trim()) found[offer.name] = value.trim();
  }
  return found;
}

/** Examples of ratios are good ones to begin with; those of sizes and names are somebody else's. */
const BEGIN = new Set(["percent", "percents"]);
const defaultOf = (name: string, example: string | undefined) => (BEGIN.has(name) ? (example ?? "") : "");

/** What is still missing before a call can be made: the names of parts and parameters. */
export function missing(shown: Draft, known: Offers, task: Task): string[] {
  if (!shown.framework) return ["model"];
  const call = known[callOf(shown.framework, task === "inspect" ? "prune" : task)];
  if (!call) return [];
  const parameters = parametersOf(shown, known, task === "inspect" ? "prune" : task);
  return [
    ...call.parts.filter((part) => part.required && !(part.name in shown.files)).map((part) => part.name),
    ...call.parameters.filter(({ name, required }) => required && !BEGIN.has(name) && !parameters[name]).map((offer) => offer.name),
  ];
}
