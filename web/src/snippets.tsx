/** A call as others make it: curl, the command line, Python. */

import type { Asked } from "./types";

export function Snippets({ call }: Asked) {
  return <code>{call}</code>;
}
