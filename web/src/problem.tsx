/** What went wrong, in the service's own words, with its code; it takes the focus, so that nobody misses it. */

import { useEffect, useRef } from "preact/hooks";
import { Refusal } from "./api";
import type { Trouble } from "./types";
import { described } from "./words";

export type { Trouble };

/** What was thrown, as something to show. */
export function trouble(error: unknown): Trouble {
  if (error instanceof Refusal) {
    const { message, code, field, remedy, link } = error;
    return { message, code, field, remedy, link };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}

export function Problem({ title, of, focus = true }: { title: string; of: Trouble; focus?: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (focus) box.current?.focus();
  }, [of.message, focus]);
  return (
    <div class="problem" role="alert" tabIndex={-1} ref={box}>
      <strong>{title}</strong>
      <p class="said">{of.message}</p>
      {of.remedy && <p>{described(of.remedy)}</p>}
      {(of.code || of.field) && (
        <p class="codes">
          {of.code && (
            <>
              code{" "}
              {of.link ? (
                <a href={of.link} target="_blank" rel="noopener">
                  <code>{of.code}</code>
                </a>
              ) : (
                <code>{of.code}</code>
              )}
            </>
          )}
          {of.field && (
            <>
              {" "}
              at <code>{of.field}</code>
            </>
          )}
        </p>
      )}
    </div>
  );
}
