"""A page of the documents as the shell script that its reader would type.

- A block of Python with `title="NAME"` is a file that the reader saves; one without is run at once.
- Of a `console` block the lines that begin with `$ ` are typed, the others are what is printed.
- `<!-- in: tf212 -->` before a block: it is run where only that framework is, in an environment of `scripts/dialects`.
- `<!-- not run: WHY -->` before a block leaves it out.
- `<!-- after: PAGE -->` at the top of a page: its reader has followed that page, in the same folder.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>in|not run): (?P<said>[^\n]+) -->\n+)?"
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)

_AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.MULTILINE)

#: The address that the pages print, which a test puts its own service in place of.
ADDRESS = "https://127.0.0.1:8443"


def pages() -> list[Path]:
    """Every page that people wrote, but the operator's, which `tests/operations` follows."""
    return sorted(path for path in DOCS.rglob("*.md") if "reference" not in path.parts and path.stem != "operations")


def before(page: Path) -> Path | None:
    """The page that its reader has followed before."""
    found = _AFTER.search(page.read_text())
    return None if found is None else (page.parent / found[1]).resolve()


def environments(page: Path) -> set[str]:
    """Whose frameworks the page needs beside our own environment, and the pages before it."""
    earlier = before(page)
    own = {found["said"] for found in _BLOCK.finditer(page.read_text()) if found["mark"] == "in"}
    return own | (environments(earlier) if earlier else set())


def script(page: Path) -> str:
    """What a reader of the page does, in order; empty where there is nothing to do."""
    blocks = [found for found in _BLOCK.finditer(page.read_text()) if found["mark"] != "not run"]
    typed = [step for step in map(_step, blocks) if step]
    return "\n".join(["set -euo pipefail", *typed]) if typed else ""


def _step(found: re.Match[str]) -> str:
    body, title = found["body"], found["title"]
    if title is not None:
        return _saved(title, body)
    if found["language"] == "python":
        done = f"{_saved('block.py', body)}\npython block.py"
    elif found["language"] == "console":
        done = "\n".join(_typed(body))
    else:
        return ""
    if found["mark"] != "in":
        return done
    place = ROOT / ".envs" / found["said"] / "bin"
    return f'before=$PATH\nPATH="{place}:$PATH"\n{done}\nPATH=$before'


def _saved(name: str, body: str) -> str:
    return f"cat >{name} <<'END OF THE BLOCK'\n{body}END OF THE BLOCK"


def _typed(body: str) -> list[str]:
    # A line that ends in a backslash goes on in the next.
    lines = re.findall(r"^\$ ((?:.*\\\n)*.*)$", body, re.MULTILINE)
    return [line.replace("curl ", "curl --fail-with-body --silent --show-error ") for line in lines]


def path_of_ours() -> str:
    """A PATH whose Python and `coppice` are those that run the tests."""
    return f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
