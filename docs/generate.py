"""The reference, written from the code: `make reference`. Tests hold the files to it.

One function a page; a page is a string. Nothing is written by hand here but the sentence on top of each page. The tree
in ARCHITECTURE.md is made here, too: a file's line is the first sentence of its own docstring.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from coppice import errors, keras_layers, rules
from coppice.cli.app import app
from coppice.cli.serve import flag
from coppice.criteria import CRITERIA, INSTEAD, WITH_SAMPLES, WITHOUT_SAMPLES
from coppice.formats import OPENERS
from coppice.http.intake import INTAKES, Intake
from coppice.http.parameters import parameters_of
from coppice.http.parts import parts_of
from coppice.http.routes import ADDRESSES, Calls
from coppice.records import quantization
from coppice.records.accounts import ACCOUNTS
from coppice.records.frameworks import Framework
from coppice.records.quantization import CAPABILITIES, Asked, Precision, Rounding, wanted
from coppice.records.report import (
    Account,
    Artifact,
    Candidate,
    Cost,
    Fidelity,
    FrozenReport,
    GroupReport,
    InputFile,
    LayerPrecision,
    Machine,
    Quality,
    Quantized,
    Raised,
    Report,
    Trial,
    Verification,
)
from coppice.records.request import Request
from coppice.settings import Settings
from coppice.steps import activations, quality
from docs import picture, traced

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
#: Around the tree in ARCHITECTURE.md.
TREE_BEGINS, TREE_ENDS = "<!-- tree: made by docs/generate.py -->\n", "<!-- end of tree -->\n"


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
        yield f"{indent}[`{kind.code}`](#{kind.code})", str(kind.http_status), str(kind.exit_code), first_line(kind)
        for child in kind.__subclasses__():
            yield from rows(child, depth + 1)

    explained = "\n".join(
        f"## {kind.code}\n\n{first_line(kind)}\n\n**Cause.** {kind.cause}\n\n**What to do.** {kind.remedy}\n"
        for kind in errors.BY_CODE.values()
    )
    return (
        "# Errors\n\nEvery answer that reports a failure carries one of these codes beside its message, with what can "
        "be done and the address of its page on the service; the command line ends with the exit code, and "
        "`coppice explain CODE` says what stands here.\n\n"
        + table(("code", "HTTP status", "exit code", "when"), rows(errors.CoppiceError, 0))
        + "\n"
        + explained
    )


def criteria_page() -> str:
    rows = ((f"`{name}`", first_line(entry.rate), entry.needs.value) for name, entry in CRITERIA.items())
    return (
        "# Criteria\n\nWhat decides which channels of a group go: the lowest scores do. Without a word, "
        f"`{WITH_SAMPLES}` where there are samples and `{WITHOUT_SAMPLES}` where there are none. Channels that a "
        f"criterion can't judge are left to `{INSTEAD}`, and the report names them. The files of "
        "`coppice/criteria` name the papers.\n\n" + table(("criterion", "score of a channel", "needs"), rows)
    )


def precisions_page() -> str:
    held = (
        (f"`{framework}`", f"`{kind}`", *map(_values, (one.weights, one.biases, one.activations)))
        for (framework, kind), combinations in CAPABILITIES.items()
        for one in combinations
    )
    meant = (row for framework in Framework for precision in Precision if (row := _meant(framework, precision)))
    roundings = ((f"`{name}`", told) for name, told in _comments(Rounding).items())
    return (
        "# Precisions\n\nWhat may be asked of `precision`, `weights`, `biases`, `activations`, `format` and "
        f"`rounding`.\n\n{_told(quantization)}\n\n"
        "## What goes together\n\nA row is what one kind of file can hold: any of its precisions of weights with any "
        "of its biases and activations.\n\n"
        + table(("framework", "format", "weights", "biases", "activations"), held)
        + "\n## What `precision` means by itself\n\n"
        + table(("framework", "precision", "format", "biases", "activations"), meant)
        + "\n## Rounding\n\nHow weights become whole numbers.\n\n"
        + table(("rounding", "what it is"), roundings)
    )


def _values(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _meant(framework: Framework, precision: Precision) -> tuple[str, ...]:
    """A row of what comes of a precision where nothing else is said; none where no file has it."""
    try:
        found = wanted(
            framework, Asked(precision=precision, weights=None, biases=None, activations=None, output_format=None)
        )
    except errors.PrecisionImpossible:
        return ()
    told = (framework, precision, found.output_format, found.numbers.biases, found.numbers.activations)
    return tuple(f"`{value}`" for value in told)


def _comments(choices: type[StrEnum]) -> dict[str, str]:
    """What the source says beside each value."""
    return dict(re.findall(r'= "(\w+)"  # (.+)', inspect.getsource(choices)))


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


def calls_page() -> str:
    parts = ["# HTTP calls\n\nUnder `/api` and under `/edgeai/run/api`; a running service describes them at `/docs`.\n"]
    for name, (method, address) in ADDRESSES.items():
        told = INTAKES[name].description if name in INTAKES else first_line(getattr(Calls, name))
        parts.append(f"## `{method} {address}`\n\n{told}\n")
        if name in INTAKES:
            parts.append(_inputs(INTAKES[name]))
    return "\n".join(parts)


def _inputs(intake: Intake) -> str:
    parameters = (
        (
            _names(parameter.name, parameter.aliases),
            "parameter",
            _needed(parameter.required_by(intake)),
            parameter.description,
        )
        for parameter in parameters_of(intake)
    )
    files = (
        (
            _names(part.part.value, part.aliases),
            "file",
            _needed(part.required_by(intake)),
            part.description,
        )
        for part in parts_of(intake)
    )
    return table(("name", "kind", "", "what it is"), (*parameters, *files))


def _names(name: str, aliases: Iterable[str]) -> str:
    return ", ".join(f"`{spelling}`" for spelling in (name, *aliases))


def _needed(required: bool) -> str:
    return "required" if required else "optional"


def tree() -> str:
    """The files of coppice/, each with the first sentence of its docstring."""
    lines = ["```", *_listed(ROOT / "coppice", 0), "```"]
    return "\n".join(lines) + "\n"


def _listed(folder: Path, depth: int) -> Iterable[str]:
    yield _line(f"{folder.name}/", depth, folder / "__init__.py")
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield _line(path.name, depth + 1, path)
    for child in sorted(folder.iterdir()):
        if (child / "__init__.py").exists():
            yield from _listed(child, depth + 1)


def _line(name: str, depth: int, source: Path) -> str:
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    sentence = " ".join(docstring.partition("\n\n")[0].split())
    return f"{'  ' * depth + name:<32}{sentence}"


def with_tree(text: str) -> str:
    """ARCHITECTURE.md with its tree made anew."""
    before, _, rest = text.partition(TREE_BEGINS)
    return before + TREE_BEGINS + tree() + TREE_ENDS + rest.partition(TREE_ENDS)[2]


def report_page() -> str:
    intro = (
        "# Report\n\nWhat `artifact=report` holds, and `report.json` of the command; `artifact=report_html` is the "
        "same as one page that needs no network and runs no script. Its JSON schema, and those of the other accounts: "
        f"{', '.join(f'[{name}]({name})' for name in SCHEMAS)}.\n\nThe same request (files, parameters, seed) with the "
        "same versions gives the same bytes in every artifact but those that tell of measured times: `report`, "
        "`report_html`, and `bundle`, which holds both.\n"
    )
    parts = [
        intro,
        f"How the figures of quality are computed:\n\n{_told(quality)}\n",
        f"How the peak of activation memory is counted:\n\n{_told(activations)}\n",
    ]
    for record in RECORDS:
        rows = ((f"`{name}`", field.description or "") for name, field in record.model_fields.items())
        parts.append(f"## {record.__name__}\n\n{first_line(record)}\n\n{table(('field', 'what it is'), rows)}")
    return "\n".join(parts)


def _told(module: object) -> str:
    """What a module's docstring says after its first paragraph."""
    return (inspect.getdoc(module) or "").partition("\n\n")[2]


def _schema(account: type[Account]) -> str:
    schema = {"$schema": DIALECT, **account.model_json_schema(mode="serialization")}
    return json.dumps(schema, indent=2) + "\n"


#: The records of a report, from the outside in.
RECORDS = (
    *(Report, GroupReport, FrozenReport, Cost, Quality, Fidelity, Candidate, Trial),
    *(Quantized, LayerPrecision, Raised, Verification, Machine, InputFile, Artifact, Request),
)
#: What JSON schemas are written in.
DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: File -> the account whose JSON it describes.
SCHEMAS = {f"{account.__name__.lower()}.schema.json": account for account in ACCOUNTS.values()}

PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "criteria.md": criteria_page,
    "rules.md": rules_page,
    "keras-layers.md": layers_page,
    "formats.md": formats_page,
    "precisions.md": precisions_page,
    "command-line.md": command_page,
    "http.md": calls_page,
    "report.md": report_page,
    **{name: partial(_schema, account) for name, account in SCHEMAS.items()},
}


def main() -> None:
    """Write every page, the tree and the pictures; remove what is no page any more."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        if path.name not in PAGES:
            path.unlink()
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
    ARCHITECTURE.write_text(with_tree(ARCHITECTURE.read_text()))
    picture.FILE.write_text(picture.picture())
    traced.draw()


if __name__ == "__main__":
    main()
