/** A call as others make it: curl, the command line, Python. */

import { useId, useRef, useState } from "preact/hooks";
import { keptKey } from "./api";
import { commandLine, curl, python } from "./snippets-text";
import type { Asked } from "./types";

const KINDS = [
  { name: "curl", of: curl },
  { name: "Command line", of: commandLine },
  { name: "Python", of: python },
] as const;

/** How long the button says that it copied, milliseconds. */
const SAID = 2000;

export function Snippets(asked: Asked) {
  const [shown, show] = useState(0);
  const [said, say] = useState("");
  const id = useId();
  const tabs = useRef<HTMLDivElement>(null);
  const text = (KINDS[shown] ?? KINDS[0]).of(asked, location.origin, keptKey() !== null);
  const move = (event: KeyboardEvent) => {
    const to = { ArrowRight: shown + 1, ArrowLeft: shown - 1, Home: 0, End: KINDS.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + KINDS.length) % KINDS.length;
    show(next);
    tabs.current?.querySelectorAll("button")[next]?.focus();
  };
  const copy = async () => {
    // Without TLS a browser has no clipboard to write to.
    const done = navigator.clipboard?.writeText(text).then(() => true, () => false);
    say((await done) ? "Copied" : "Could not copy: select the text");
    setTimeout(() => say(""), SAID);
  };
  return (
    <div class="snippets">
      <div class="tabs" role="tablist" aria-label="Kinds of calls" ref={tabs} onKeyDown={move}>
        {KINDS.map(({ name }, index) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-tab-${index}`}
            aria-selected={index === shown}
            aria-controls={`${id}-panel`}
            tabIndex={index === shown ? 0 : -1}
            onClick={() => show(index)}
          >
            {name}
          </button>
        ))}
      </div>
      <div class="snippet" role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-tab-${shown}`} tabIndex={0}>
        <pre>
          <code>{text}</code>
        </pre>
        <button type="button" class="small copy" onClick={() => void copy()}>
          {said === "Copied" ? "Copied" : "Copy"}
        </button>
      </div>
      <p class="hidden" role="status">
        {said}
      </p>
    </div>
  );
}
