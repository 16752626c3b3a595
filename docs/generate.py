"""The reference, written from the code: `make reference`. A test holds docs/reference/ to it.

One function a page; a page is a string. Nothing is written by hand here but the sentence on top of each page.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from coppice import errors, keras_layers, rules
from coppice.cli.app import app
from coppice.cli.serve import flag
from coppice.criteria import CRITERIA
from coppice.formats import OPENERS
from coppice.settings import Settings

FOLDER = Path(__file__).parent / "reference"


def first_line(thing: object) -> str:
    """What a thing is for: the first sentence of its docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(list(head)), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def settings_page() -> str:
    rows = (
        (f"`{name}`", f"`{flag(name)}`", f"`COPPICE_{name.upper()}`", _default(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return (
        "# Settings\n\nOf the service: each is a flag of `coppice serve`, and is read from the environment when the "
        "flag is not given.\n\n" + table(("setting", "flag", "environment", "default", "what it is"), rows)
    )


def _default(value: object) -> str:
    return "unset" if value is None else f"`{value}`"


def errors_page() -> str:
    def rows(kind: type[errors.CoppiceError], depth: int) -> Iterable[Iterable[str]]:
        indent = "&nbsp;" * 4 * depth
        yield f"{indent}`{kind.code}`", str(kind.http_status), str(kind.exit_code), first_line(kind)
        for child in kind.__subclasses__():
            yield from rows(child, depth + 1)

    return (
        "# Errors\n\nEvery answer that reports a failure carries one of these codes beside its message; the command "
        "line ends with the exit code.\n\n"
        + table(("code", "HTTP status", "exit code", "when"), rows(errors.CoppiceError, 0))
    )


def criteria_page() -> str:
    rows = ((f"`{name}`", first_line(criterion)) for name, criterion in CRITERIA.items())
    return "# Criteria\n\nWhat decides which channels of a group go: the lowest scores do.\n\n" + table(
        ("criterion", "score of a channel"), rows
    )


def rules_page() -> str:
    served = defaultdict(list)
    for operator, rule in rules.RULES.items():
        served[rule].append(operator)
    intro = (
        "# Rules\n\nHow labels pass through an operator. Operators that PyTorch itself tags as element-wise follow the "
        "element-wise rule without being listed; any other operator that is not here fixes the channels it touches, "
        "and the report names it.\n"
    )
    parts = [intro]
    for rule, operators in served.items():
        where = rule.__module__.removeprefix("coppice.")
        names = ", ".join(f"`{name.removeprefix('aten::')}`" for name in sorted(operators))
        parts.append(f"**{where}.{rule.__name__}**: {first_line(rule)}\n\n{names}\n")
    return "\n".join(parts)


def layers_page() -> str:
    names = ", ".join(f"`{name}`" for name in sorted(keras_layers.LAYERS))
    return (
        "# Keras layers\n\nThe layer classes that the interpreter runs. A layer that is not here is a barrier: its "
        "channels stay, and the report says that the numeric check could not cover it.\n\n" + names + "\n"
    )


def formats_page() -> str:
    rows = ((f"`{framework}_prune`", f"`{kind}`", f"`{entry}`") for (framework, kind), entry in OPENERS.items())
    return "# Formats\n\nWhat is told apart by its bytes, and what opens it.\n\n" + table(
        ("call", "kind of file", "opened by"), rows
    )


def command_page() -> str:
    command = typer.main.get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name="coppice").strip() + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "criteria.md": criteria_page,
    "rules.md": rules_page,
    "keras-layers.md": layers_page,
    "formats.md": formats_page,
    "command-line.md": command_page,
}


def main() -> None:
    """Write every page, and remove what is no page any more."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in PAGES:
            path.unlink()
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
