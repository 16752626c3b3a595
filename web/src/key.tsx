/** The key of the service, where it asks for one: a dialog that every refused call waits for. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Key, keepKey, keptKey, onKeyWanted } from "./api";

/** Told when a key was given or forgotten. */
const changes = new EventTarget();
let open: () => void = () => {};

export function KeyButton() {
  const [key, set] = useState(keptKey);
  useEffect(() => {
    const changed = () => set(keptKey());
    changes.addEventListener("key", changed);
    return () => changes.removeEventListener("key", changed);
  }, []);
  if (!key) return null;
  return (
    <button type="button" class="quiet" onClick={() => open()} title={`Key ${key.id}`}>
      Key
    </button>
  );
}

export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const answer = useRef<(key: Key | null) => void>(() => {});
  const [wrong, setWrong] = useState(false);
  const [id, setId] = useState("");
  const [secret, setSecret] = useState("");
  useEffect(() => {
    open = () => (setWrong(false), setId(keptKey()?.id ?? ""), dialog.current?.showModal());
    onKeyWanted(() => {
      setWrong(keptKey() !== null);
      dialog.current?.showModal();
      return new Promise((resolve) => (answer.current = resolve));
    });
  }, []);
  const end = (key: Key | null) => {
    dialog.current?.close();
    setSecret("");
    keepKey(key ?? keptKey());
    changes.dispatchEvent(new Event("key"));
    answer.current(key);
  };
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onCancel={() => answer.current(null)}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          end({ id: id.trim(), secret: secret.trim() });
        }}
      >
        <h2 id="key-title">API key</h2>
        <p class="note">This service asks for a key. It is kept in this tab only, and gone when you close it.</p>
        {wrong && (
          <p class="problem" role="alert">
            The key was refused. Look at both parts again.
          </p>
        )}
        <label>
          Client id
          <input value={id} onInput={(event) => setId(event.currentTarget.value)} required autocomplete="username" />
        </label>
        <label>
          Client secret
          <input
            type="password"
            value={secret}
            onInput={(event) => setSecret(event.currentTarget.value)}
            required
            autocomplete="current-password"
          />
        </label>
        <div class="row end">
          <button type="button" class="quiet" onClick={() => end(null)}>
            Not now
          </button>
          <button type="submit" class="primary">
            Use this key
          </button>
        </div>
      </form>
    </dialog>
  );
}
