/** A new job: files, what could be pruned of the model, what to do with it, and off it goes. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Files as Uploads, submit } from "../api";
import { missing, parametersOf, useDraft } from "../draft";
import { type Offers, callOf, offers } from "../offers";
import { Problem, type Trouble, trouble } from "../problem";
import { jobAddress } from "../route";
import { Snippets } from "../snippets";
import { Files } from "./files";
import { InspectionPanel } from "./inspection";
import { Options } from "./options";
import { useInspection } from "./inspecting";
import { Sent } from "./sent";

export function NewJob() {
  const [known, setKnown] = useState<Offers | null>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  useEffect(() => {
    offers().then(setKnown, (error: unknown) => setFailed(trouble(error)));
  }, []);
  return (
    <>
      <div class="title">
        <h1>New job</h1>
        <p class="lead">Drop a model, see what can be pruned of it, choose what to make of it.</p>
      </div>
      {failed && <Problem title="The page could not ask the service what it offers" of={failed} />}
      {known && <Form known={known} />}
    </>
  );
}

function Form({ known }: { known: Offers }) {
  const draft = useDraft();
  const inspecting = useInspection(draft, known);
  const [sent, setSent] = useState<number | null>(null);
  const stop = useRef<AbortController | null>(null);
  const sending = sent !== null;
  const [refused, setRefused] = useState<Trouble | null>(null);
  const lacking = missing(draft, known, draft.task);
  const call = draft.framework ? callOf(draft.framework, draft.task) : null;

  const send = async () => {
    if (!call) return;
    const { signal } = (stop.current = new AbortController());
    setSent(0);
    setRefused(null);
    try {
      const parameters = parametersOf(draft, known, draft.task);
      location.hash = jobAddress(await submit(call, parameters, draft.files as Uploads, signal, setSent));
    } catch (error) {
      if (!signal.aborted) setRefused(trouble(error));
      setSent(null);
    }
  };

  return (
    <form
      class="new"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <div class="column">
        <Files draft={draft} known={known} />
        <InspectionPanel draft={draft} state={inspecting} />
        {call && lacking.length === 0 && (
          <details class="panel fold">
            <summary>The same from a terminal or a program</summary>
            <Snippets call={call} parameters={parametersOf(draft, known, draft.task)} files={names(draft.files)} />
          </details>
        )}
      </div>
      <div class="column side">
        <Options draft={draft} known={known} refused={refused?.field} />
        {refused && <Problem title="The service did not take the job" of={refused} />}
        <div class="submit">
          <button type="submit" class="primary large" disabled={sending || lacking.length > 0} aria-describedby="lacking">
            {sending ? "Sending…" : VERBS[draft.task]}
          </button>
          {sent !== null && (
            <>
              <Sent fraction={sent} />
              <button type="button" class="quiet" onClick={() => stop.current?.abort()}>
                Stop sending
              </button>
            </>
          )}
          <p id="lacking" class="note" aria-live="polite">
            {lacking.length > 0 && `Still missing: ${lacking.map((name) => name.replace("_", " ")).join(", ")}.`}
          </p>
        </div>
      </div>
    </form>
  );
}

const VERBS = { prune: "Prune the model", sweep: "Run the sweep", quantize: "Quantize the model", inspect: "Inspect" };

const names = (files: Record<string, File>) =>
  Object.fromEntries(Object.entries(files).map(([part, file]) => [part, file.name]));
