/** What went wrong, in the service's own words, with its code; it takes the focus, so that nobody misses it. */

import { useEffect, useRef } from "preact/hooks";
import { Refusal } from "./api";

export interface Trouble {
  message: string;
  code?: string | undefined;
  field?: string | undefined;
}

/** What was thrown, as something to show. */
export function trouble(error: unknown): Trouble {
  if (error instanceof Refusal) return { message: error.message, code: error.code, field: error.field };
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
      {(of.code || of.field) && (
        <p class="codes">
          {of.code && (
            <>
              code <code>{of.code}</code>
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
