/** What the service answers beside the accounts of jobs (records.ts, which is generated from their schemas). */

export type * from "./records";

export type Task = "prune" | "inspect" | "sweep" | "quantize";
export type State = "queued" | "running" | "done" | "failed" | "cancelled" | "expired";

export interface Progress {
  step: string;
  fraction: number;
  detail?: string;
}

/** The number of a state, as `status` answers it: negative ones and 0 are final. */
export const DONE = 0;
export const QUEUED = 1;
export const RUNNING = 2;
export const FAILED = -1;
export const CANCELLED = -2;

/** What went wrong: what happened, its code, the field at fault, what can be done, and the page of the code. */
export interface Trouble {
  message: string;
  code?: string | undefined;
  field?: string | undefined;
  remedy?: string | undefined;
  link?: string | undefined;
}

export interface Status extends Trouble {
  status: number;
  filename?: string;
  progress?: Progress;
}

/** A job in the list. */
export interface Listed {
  txid: string;
  state: State;
  status: number;
  call: string;
  submitted: string;
  finished?: string;
  progress?: Progress;
  filename?: string;
  code?: string;
  stored_bytes: number;
  queue: string;
  priority: string;
  /** What was asked, by the names of the call's parameters, without what is so by itself. */
  parameters: Record<string, string>;
  /** Multipart name -> name of the file. */
  files: Record<string, string>;
}

export interface JobsPage {
  jobs: Listed[];
  next?: string;
}

/** A call with all that it was given, as it can be made again. */
export interface Asked {
  call: string;
  parameters: Record<string, string>;
  files: Record<string, string>;
}
