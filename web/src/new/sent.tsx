/** How much of an upload is on its way. */

import { percent } from "../words";

export function Sent({ fraction }: { fraction: number }) {
  return (
    <div class="row sent">
      <progress aria-label="Upload" value={fraction} />
      <span class="fraction">{percent(fraction)}</span>
    </div>
  );
}
