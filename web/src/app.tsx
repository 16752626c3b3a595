/** The page: its header, and the view that the address names. */

import { useRoute } from "./route";
import { Compare, History } from "./history";

export function App() {
  const route = useRoute();
  return (
    <main id="main">
      {route.view === "jobs" && <History />}
      {route.view === "compare" && <Compare a={route.a} b={route.b} />}
    </main>
  );
}
