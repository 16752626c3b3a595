/** Addresses within the page: `#/`, `#/jobs`, `#/jobs/TXID`, `#/compare/A/B`. */

import { useEffect, useState } from "preact/hooks";

export type Route =
  | { view: "new" }
  | { view: "jobs" }
  | { view: "job"; txid: string }
  | { view: "compare"; a: string; b: string };

export const NEW = "#/";
export const JOBS = "#/jobs";
export const jobAddress = (txid: string) => `#/jobs/${encodeURIComponent(txid)}`;
export const compareAddress = (a: string, b: string) => `#/compare/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;

export function useRoute(): Route {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const changed = () => setRoute(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

function read(): Route {
  const [view, first, second] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (view === "jobs") return first ? { view: "job", txid: first } : { view: "jobs" };
  if (view === "compare" && first && second) return { view: "compare", a: first, b: second };
  return { view: "new" };
}
