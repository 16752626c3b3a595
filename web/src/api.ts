/** Every call of the service: one function each. Refusals are thrown as `Refusal`; a key is asked for where one is. */

import type { JobsPage, Status, Trouble } from "./types";

/** What the service, or the way to it, said no with. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly field: string | undefined,
    /** HTTP status; 0 where there was no answer. */
    readonly http: number,
    /** What can be done, and the address of the page of the code. */
    readonly remedy?: string,
    readonly link?: string,
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
  signal: AbortSignal,
  /** Told how much of it is on its way, 0 to 1. */
  sent: (fraction: number) => void,
): Promise<string> {
  const body = new FormData();
  for (const [part, file] of Object.entries(files)) body.append(part, file, file.name);
  const answer = await request("POST", `/api/${call}`, parameters, { body, signal, sent });
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

interface Sending extends RequestInit {
  sent?: (fraction: number) => void;
}

async function request(
  method: string,
  path: string,
  query: Record<string, string>,
  { sent, ...more }: Sending = {},
): Promise<Response> {
  const words = new URLSearchParams(query).toString();
  const address = words ? `${path}?${words}` : path;
  for (;;) {
    const key = keptKey();
    const headers = key ? { "X-IBM-Client-Id": key.id, "X-IBM-Client-Secret": key.secret } : undefined;
    const whole = { method, ...more, ...(headers && { headers }) };
    const answer = await (sent ? upload(address, whole, sent) : fetch(address, whole)).catch((error: unknown) => {
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

/** The same as fetch, which has no word for how much of a body is on its way. */
function upload(address: string, { method, headers, body, signal }: RequestInit, sent: (fraction: number) => void) {
  return new Promise<Response>((resolve, reject) => {
    const stopped = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    if (signal?.aborted) return stopped();
    const http = new XMLHttpRequest();
    http.open(method ?? "POST", address);
    for (const [name, value] of new Headers(headers)) http.setRequestHeader(name, value);
    http.upload.onprogress = ({ loaded, total }) => sent(total ? loaded / total : 0);
    http.onload = () =>
      resolve(new Response(http.responseText, { status: http.status, statusText: http.statusText }));
    http.onerror = () => reject(new TypeError("The connection broke."));
    http.onabort = stopped;
    signal?.addEventListener("abort", () => http.abort());
    http.send(body as FormData);
  });
}

async function refusal(answer: Response): Promise<Refusal> {
  const said = (await answer.json().catch(() => ({}))) as Partial<Trouble>;
  return new Refusal(
    said.message ?? `The service answered ${answer.status} ${answer.statusText}.`,
    said.code ?? `http_${answer.status}`,
    said.field,
    answer.status,
    said.remedy,
    said.link,
  );
}
