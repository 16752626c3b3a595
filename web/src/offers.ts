/** What the calls offer: their parameters and file parts, read from the service's own description of itself. */

import { description } from "./api";
import type { Framework, Task } from "./types";

export interface Offer {
  name: string;
  description: string;
  type: "string" | "number" | "integer" | "boolean";
  choices: string[];
  required: boolean;
  example: string | undefined;
  /** What it is where nothing is given; undefined where that is nothing, or depends on the job. */
  preset: string | undefined;
}

export interface PartOffer {
  name: string;
  suffixes: string[];
  required: boolean;
}

export interface CallOffer {
  summary: string;
  parameters: Offer[];
  parts: PartOffer[];
}

export type Offers = Record<string, CallOffer>;

export const FRAMEWORKS: readonly Framework[] = ["pt", "tf", "onnx"];

/** The call that does this with models of that framework. */
export const callOf = (framework: Framework, task: Task) => (task === "inspect" ? task : `${framework}_${task}`);

interface Described {
  paths: Record<string, { post?: DescribedCall }>;
}

interface DescribedCall {
  summary: string;
  parameters?: {
    name: string;
    in: string;
    description: string;
    required: boolean;
    example?: unknown;
    schema: { type: Offer["type"]; enum?: string[]; default?: unknown };
  }[];
  requestBody?: {
    content: Record<string, { schema: { required?: string[]; properties: Record<string, { "x-suffixes": string[] }> } }>;
  };
}

let read: Promise<Offers> | null = null;

/** The offers of all calls that take a model; asked for once. */
export function offers(): Promise<Offers> {
  read ??= description().then((said) => fromDescription(said as Described));
  read.catch(() => (read = null));
  return read;
}

function fromDescription(said: Described): Offers {
  const found: Offers = {};
  for (const [path, { post }] of Object.entries(said.paths)) {
    const form = post?.requestBody?.content["multipart/form-data"]?.schema;
    if (!post || !form) continue;
    found[path.replace("/api/", "")] = {
      summary: post.summary,
      parameters: (post.parameters ?? [])
        .filter((parameter) => parameter.in === "query")
        .map(({ name, description, required, example, schema }) => ({
          name,
          description,
          required,
          type: schema.type,
          choices: schema.enum ?? [],
          example: example === undefined ? undefined : String(example),
          preset: schema.default === undefined ? undefined : String(schema.default),
        })),
      parts: Object.entries(form.properties)
        .filter(([name]) => name !== "plan") // which says what the page's own choices say
        .map(([name, part]) => ({
          name,
          suffixes: part["x-suffixes"],
          required: (form.required ?? []).includes(name),
        })),
    };
  }
  return found;
}
