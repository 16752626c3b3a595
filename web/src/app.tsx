/** The page: its header, the view that the address names, and the dialog that asks for a key. */

import { useEffect, useRef } from "preact/hooks";
import { Compare, History } from "./history";
import { JobView } from "./job";
import { KeyButton, KeyDialog } from "./key";
import { NewJob } from "./new";
import { JOBS, NEW, type Route, useRoute } from "./route";
import { ThemeButton } from "./theme-button";

const TITLES: Record<Route["view"], string> = { new: "New job", jobs: "Jobs", job: "Job", compare: "Comparison" };

export function App() {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${TITLES[route.view]} – Coppice`;
    scrollTo(0, 0);
    // Whoever can't see that the view has changed is taken to its beginning, but not when the page opens.
    if (!first.current) main.current?.focus();
    first.current = false;
  }, [route]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to content
      </a>
      <header class="bar">
        <a class="brand" href={NEW} aria-label="Coppice, new job">
          <Mark />
          <span>Coppice</span>
        </a>
        <nav aria-label="Views">
          <a href={NEW} aria-current={route.view === "new" ? "page" : undefined}>
            New job
          </a>
          <a href={JOBS} aria-current={route.view !== "new" ? (route.view === "jobs" ? "page" : "true") : undefined}>
            Jobs
          </a>
          <a href="/docs">API</a>
        </nav>
        <div class="tools">
          <KeyButton />
          <ThemeButton />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {route.view === "new" && <NewJob />}
        {route.view === "jobs" && <History />}
        {route.view === "job" && <JobView key={route.txid} txid={route.txid} />}
        {route.view === "compare" && <Compare key={`${route.a} ${route.b}`} a={route.a} b={route.b} />}
      </main>
      <KeyDialog />
    </>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 16 16" width="18" height="18" aria-hidden="true">
      <path d="M3 14V7M8 14V2M13 14V9" />
    </svg>
  );
}
