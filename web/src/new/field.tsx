/** One parameter of a call, as its description says: a list of words, a number, a switch, or a text. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import type { Offer } from "../offers";
import { described, label, sentences } from "../words";

interface Given {
  offer: Offer;
  value: string;
  onChange: (value: string) => void;
  suggestions?: string[];
  /** Whether the service refused the job for it. */
  refused?: boolean;
  /** Whether its description is shown only when it is asked for. */
  compact?: boolean;
}

export function Field({ offer, value, onChange, suggestions = [], refused = false, compact = false }: Given) {
  const id = useId();
  const [first, rest] = sentences(offer.description);
  const [open, setOpen] = useState(false);
  const common = {
    id,
    name: offer.name,
    "aria-describedby": `${id}-help`,
    "aria-invalid": refused ? ("true" as const) : undefined,
  };
  return (
    <div class={`field${refused ? " refused" : ""}`}>
      <div class="naming">
        <label for={id}>
          {label(offer.name)}
          {offer.required && offer.example && <span class="need"> (needed)</span>}
        </label>
        {compact && (
          <button
            type="button"
            class="ask"
            aria-label={`About ${label(offer.name)}`}
            aria-expanded={open}
            aria-controls={`${id}-help`}
            onClick={() => setOpen(!open)}
          >
            ?
          </button>
        )}
      </div>
      {offer.choices.length > 0 || offer.type === "boolean" ? (
        <select {...common} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          <option value="">{offer.required ? "choose…" : offer.preset ? `default: ${words(offer.preset)}` : "not set"}</option>
          {(offer.type === "boolean" ? ["true", "false"] : offer.choices).map((choice) => (
            <option key={choice} value={choice}>
              {words(choice)}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          value={value}
          inputMode={offer.type === "number" ? "decimal" : offer.type === "integer" ? "numeric" : "text"}
          placeholder={offer.preset ? `default: ${offer.preset}` : offer.example && `e.g. ${offer.example}`}
          list={suggestions.length > 0 ? `${id}-list` : undefined}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
      {suggestions.length > 0 && (
        <datalist id={`${id}-list`}>
          {suggestions.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
      <div class="help" id={`${id}-help`} hidden={compact && !open}>
        {described(compact ? offer.description : first)}
        {!compact && rest && <More>{described(rest)}</More>}
      </div>
    </div>
  );
}

const words = (choice: string) => choice.replaceAll("_", " ");

function More({ children }: { children: ComponentChildren }) {
  return (
    <details>
      <summary>more</summary>
      {children}
    </details>
  );
}
