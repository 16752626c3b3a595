/** A chart with its name, its caption, and the same numbers as a table for who can't see it. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export type Drawing = (SVGSVGElement | HTMLElement) & { scale: (name: string) => { apply(value: unknown): number } | undefined };

export interface ChartProps {
  /** Read aloud in place of the picture. */
  name: string;
  caption: ComponentChildren;
  draw: (width: number) => Drawing;
  table?: ComponentChildren;
  /** What is drawn anew when it changes. */
  of: unknown;
  /** Laid over the drawing, by its scales. */
  over?: (drawing: Drawing) => ComponentChildren;
  tall?: boolean;
}

export function Chart({ name, caption, draw, table, of, over, tall = false }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [drawing, setDrawing] = useState<Drawing | null>(null);
  useEffect(() => {
    if (!place.current) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(place.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!width || !place.current) return;
    const drawn = draw(width);
    // Plot names its marks on elements without a role, which WAI-ARIA forbids; the picture has one name as a whole.
    for (const mark of drawn.querySelectorAll("[aria-label]")) mark.removeAttribute("aria-label");
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", name);
    place.current.replaceChildren(drawn);
    setDrawing(drawn);
  }, [width, of, name]);
  const long = tall ? { class: "plot tall", tabIndex: 0, role: "region" as const, "aria-label": `${name}, to be scrolled` } : { class: "plot" };
  return (
    <figure class="chart">
      <div {...long}>
        <div class="drawn" ref={place} />
        {drawing && over?.(drawing)}
      </div>
      <figcaption>{caption}</figcaption>
      {table && (
        <details>
          <summary>The numbers as a table</summary>
          <div class="scroll" role="region" aria-label={`Table: ${name}`} tabIndex={0}>
            {table}
          </div>
        </details>
      )}
    </figure>
  );
}

/** What the colours of a chart stand for. */
export function Legend({ of }: { of: readonly (readonly [string, string])[] }) {
  return (
    <span class="legend">
      {of.map(([kind, text]) => (
        <span key={text}>
          <i class={kind} aria-hidden="true" />
          {text}
        </span>
      ))}
    </span>
  );
}
