/**
 * A call as text that can be pasted: curl, the command line, Python. A service that wants keys gets them from the
 * environment: they are in no text, and where none is wanted nothing is said of them.
 */

import type { Asked } from "./types";

/** Parts that the command line and the client take as their first argument. */
const MODELS = ["model", "weights"];
const FRAMEWORKS: Record<string, string> = { pt: "pytorch", tf: "keras", onnx: "onnx" };
/** Parameter of a call -> its name elsewhere. */
const ATTRIBUTES: Record<string, string> = { ommitted: "omit" };
/** How a service handles a job: the command takes these only with a service. */
const TERMS = ["queue", "priority", "time_limit", "webhook"];
const OUT: Record<string, string[]> = { prune: ["-o", "pruned"], sweep: ["-o", "swept"], quantize: ["-o", "quantized"], inspect: [] };

const taskOf = (call: string) => call.replace(/^.*_/, "");
const modelOf = ({ files }: Asked) => MODELS.map((part) => files[part]).find((file) => file !== undefined);

/** As a POSIX shell takes it for one word. */
export const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

export function curl(asked: Asked, origin: string, keyed: boolean): string {
  const query = Object.entries(asked.parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(2C|3A)/g, decodeURIComponent)}`)
    .join("&");
  const lines = [
    `curl -k -X POST ${quoted(`${origin}/api/${asked.call}${query && `?${query}`}`)}`,
    ...(keyed ? [`-H "X-IBM-Client-Id: $COPPICE_CLIENT_ID" -H "X-IBM-Client-Secret: $COPPICE_CLIENT_SECRET"`] : []),
    ...Object.entries(asked.files).map(([part, file]) => `-F ${quoted(`${part}=@${file}`)}`),
  ];
  return lines.join(" \\\n  ");
}

export function commandLine(asked: Asked, origin: string): string {
  const task = taskOf(asked.call);
  const { model_type: _told, ...parameters } = asked.parameters;
  const words = ["coppice", task, modelOf(asked) ?? "MODEL"];
  for (const [name, value] of Object.entries(parameters)) {
    const flag = (ATTRIBUTES[name] ?? name).replaceAll("_", "-");
    // A switch, which is on unless it is told otherwise.
    if (name === "restore") words.push(...(value === "false" ? ["--no-restore"] : []));
    else words.push(`--${flag}`, value);
  }
  for (const [part, file] of Object.entries(asked.files)) {
    if (!MODELS.includes(part)) words.push(`--${part.replaceAll("_", "-")}`, file);
  }
  if (TERMS.some((name) => name in parameters)) words.push("--server", origin, "--insecure");
  return [...words, ...(OUT[task] ?? [])].map(quoted).join(" ");
}

export function python(asked: Asked, origin: string, keyed: boolean): string {
  const { model_type: told, source_txid: earlier, ...parameters } = asked.parameters;
  const model = modelOf(asked);
  const given = model === undefined && earlier ? `client.job(${text(earlier)})` : text(model ?? "MODEL");
  const options = Object.entries(parameters).map(([name, value]) => `${ATTRIBUTES[name] ?? name}=${literal(name, value)}`);
  const files = Object.entries(asked.files)
    .filter(([part]) => !MODELS.includes(part))
    .map(([part, file]) => `${part === "dataset" ? "samples" : part}=${text(file)}`);
  const method = `${taskOf(asked.call)}_${FRAMEWORKS[told ?? ""] ?? framework(asked)}`;
  return [
    ...(keyed ? ["# The key is read from COPPICE_CLIENT_ID and COPPICE_CLIENT_SECRET."] : []),
    "import coppice",
    "",
    `client = coppice.Client(${text(origin)}, verify=False)`,
    `job = client.${method}(${[given, ...files, ...options].join(", ")})`,
    "report = job.wait()",
    `job.download(${text("result")})`,
  ].join("\n");
}

function framework(asked: Asked): string {
  const found = FRAMEWORKS[asked.call.split("_")[0] ?? ""];
  if (found) return found;
  if ("weights" in asked.files) return "pytorch";
  return asked.files.model?.toLowerCase().endsWith(".onnx") ? "onnx" : "keras";
}

/** Python takes what JSON writes of a text. */
const text = (value: string) => JSON.stringify(value);

/** Numbers as numbers, layers as a list; the client reads all else as the call does. */
function literal(name: string, value: string): string {
  if (name === "ommitted") return `[${value.split(",").map((layer) => text(layer.trim())).join(", ")}]`;
  if (name === "restore") return value === "false" ? "False" : "True";
  return /^-?\d+(\.\d+)?$/.test(value) && !["input_size", "model_name", "percents"].includes(name) ? value : text(value);
}
