/** Light or dark: as the system says, until the reader says otherwise. */

import { useEffect, useState } from "preact/hooks";

type Theme = "light" | "dark";
const KEPT = "coppice-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const kept = () => localStorage.getItem(KEPT) as Theme | null;
const current = (): Theme => kept() ?? (system.matches ? "dark" : "light");

/** Set the theme before anything is drawn, so that nothing flashes. */
export function setTheme(theme: Theme = current()): void {
  document.documentElement.dataset.theme = theme;
}

export function ThemeButton() {
  const [theme, set] = useState(current);
  useEffect(() => {
    setTheme(theme);
    const changed = () => set(current());
    system.addEventListener("change", changed);
    return () => system.removeEventListener("change", changed);
  }, [theme]);
  const other: Theme = theme === "dark" ? "light" : "dark";
  return (
    <button
      type="button"
      class="quiet icon"
      aria-label={`Switch to ${other} colours`}
      title={`Switch to ${other} colours`}
      onClick={() => (localStorage.setItem(KEPT, other), set(other))}
    >
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        {theme === "dark" ? (
          <path d="M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1" />
        ) : (
          <path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z" />
        )}
      </svg>
    </button>
  );
}
