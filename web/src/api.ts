/** Every call of the service: one function each. Refusals are thrown as `Refusal`; a key is asked for where one is. */

import type { JobsPage, Status } from "./types";

/** What the service, or the way to it, said no with. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly field: string | undefined,
    /** HTTP status; 0 where there was no answer. */
    readonly http: number,
  ) {
    super(message);
  }
}

export interface Key {
  id: string;
  secret: string;
}

const KEPT_KEY = "coppice-key";
let askForKey: (() => Promise<Key | null>) | null = null;
let asked: Promise<Key | null> | null = null;

/** The key of this tab: it is gone when the tab is closed. */
export function keptKey(): Key | null {
  const kept = sessionStorage.getItem(KEPT_KEY);
  return kept ? (JSON.parse(kept) as Key) : null;
}

export function keepKey(key: Key | null): void {
  if (key) sessionStorage.setItem(KEPT_KEY, JSON.stringify(key));
  else sessionStorage.removeItem(KEPT_KEY);
}

/** Say who asks the reader for a key when the service wants one; null means that the reader has none. */
export function onKeyWanted(ask: () => Promise<Key | null>): void {
  askForKey = ask;
}

export type Files = Record<string, File>;

export async function submit(
  call: string,
  parameters: Record<string, string>,
  files: Files,
  signal?: AbortSignal,
): Promise<string> {
  const body = new FormData();
  for (const [part, file] of Object.entries(files)) body.append(part, file, file.name);
  const answer = await request("POST", `/api/${call}`, parameters, { body, ...(signal && { signal }) });
  return ((await answer.json()) as { txid: string }).txid;
}

export async function status(txid: string, wait = 0, signal?: AbortSignal): Promise<Status> {
  const answer = await request("GET", "/api/status/", { txid, wait: String(wait) }, signal && { signal });
  return (await answer.json()) as Status;
}

/** Each status of a job as it changes, until the job has ended. */
export async function* follow(txid: string, signal: AbortSignal): AsyncGenerator<Status> {
  // EventSource can't send the headers of a key.
  const answer = await request("GET", "/api/events", { txid }, { signal });
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice("data: ".length)) as Status;
    }
  }
}

export async function cancel(txid: string): Promise<Status> {
  return (await (await request("POST", "/api/cancel", { txid })).json()) as Status;
}

export async function remove(txid: string): Promise<void> {
  await request("POST", "/api/delete", { txid });
}

export async function jobs(filters: Record<string, string> = {}): Promise<JobsPage> {
  return (await (await request("GET", "/api/jobs", filters)).json()) as JobsPage;
}

/** An artifact that is JSON: `report`, `curve`, `inspection`, `report_40`. */
export async function account<T>(txid: string, artifact: string): Promise<T> {
  return (await (await request("GET", "/api/download", { txid, artifact })).json()) as T;
}

/** Have the browser save an artifact under its own name. */
export async function save(txid: string, artifact: string): Promise<void> {
  const answer = await request("GET", "/api/download", { txid, artifact });
  const name = /filename="?([^";]+)"?/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? artifact;
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has taken the bytes by then; at once would be too early for some.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export async function description(): Promise<unknown> {
  return (await request("GET", "/openapi.json", {})).json();
}

async function request(
  method: string,
  path: string,
  query: Record<string, string>,
  more: RequestInit = {},
): Promise<Response> {
  const words = new URLSearchParams(query).toString();
  const address = words ? `${path}?${words}` : path;
  for (;;) {
    const key = keptKey();
    const headers = key ? { "X-IBM-Client-Id": key.id, "X-IBM-Client-Secret": key.secret } : undefined;
    const answer = await fetch(address, { method, ...more, ...(headers && { headers }) }).catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Refusal("The service does not answer. Is it still running?", "unreachable", undefined, 0);
    });
    if (answer.ok) return answer;
    if (answer.status === 401 && askForKey) {
      // Several calls may be refused at once: one dialog for all of them.
      asked ??= askForKey().finally(() => (asked = null));
      const given = await asked;
      if (given) {
        keepKey(given);
        continue;
      }
    }
    throw await refusal(answer);
  }
}

async function refusal(answer: Response): Promise<Refusal> {
  const said = (await answer.json().catch(() => ({}))) as { message?: string; code?: string; field?: string };
  return new Refusal(
    said.message ?? `The service answered ${answer.status} ${answer.statusText}.`,
    said.code ?? `http_${answer.status}`,
    said.field,
    answer.status,
  );
}
