"""What the commands say of themselves: examples that they read, exit codes of the errors, words for the shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.cli.examples import EXAMPLES, EXIT_CODES
from coppice.cli.stopping import EXIT_CODE
from coppice.errors import BY_CODE
from tests.serving import COMMAND

ROOT = typer.main.get_command(app)


def _commands(command: object, name: str = "") -> list[str]:
    below = getattr(command, "commands", {})
    return ([name] if name else []) + [
        found for word, child in below.items() for found in _commands(child, f"{name} {word}".strip())
    ]


def _read(command: object, words: list[str], name: str) -> None:
    """Have a command, or the one below it that is named first, read its arguments; it does not run."""
    context = command.make_context(name, words)  # type: ignore[attr-defined]  # of typer's own copy of click
    below = getattr(command, "commands", None)
    if below is not None:
        _read(below[words[0]], words[1:], words[0])
    context.close()


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(_commands(ROOT))


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_is_read_by_its_command(example: str) -> None:
    program, *words = shlex.split(example)
    assert program == "coppice"
    _read(ROOT, words, program)


@pytest.mark.parametrize("example", ["coppice prune model.h5 --no-such-flag", "coppice jobs show"])
def test_what_is_no_call_is_not_read(example: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no-such-flag|txid"):
        _read(ROOT, shlex.split(example)[1:], "coppice")


def test_the_exit_codes_of_the_help_are_those_of_the_errors() -> None:
    assert set(EXIT_CODES) == {error.exit_code for error in BY_CODE.values()} | {EXIT_CODE}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("prune", "--criterion", "ta"), {"taylor"}),
        (("prune", "--quantize", "bf"), {"bfloat16"}),
        (("sweep", "--precisions", "int8,int4,flo"), {"int8,int4,float32", "int8,int4,float16"}),
        (("quantize", "--layers", "fc1=int8,fc2=float"), {"fc1=int8,fc2=float32", "fc1=int8,fc2=float16"}),
        (("quantize", "--layers", "fc"), set()),
        (("jobs", "list", "--state", "can"), {"cancelled"}),
    ],
)
def test_a_shell_is_offered_the_words_of_an_option(typed: tuple[str, ...], offered: set[str]) -> None:
    line = " ".join(("coppice", *typed))
    environment = {
        **os.environ,
        "_COPPICE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(typed)),
    }
    found = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=False)
    assert set(found.stdout.split()) == offered, found.stderr


def test_help_loads_no_framework() -> None:
    program = (
        "import sys\nfrom coppice.cli import main\nsys.argv = ['coppice', 'prune', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'onnx', 'h5py', 'fastapi', 'sqlalchemy', 'jinja2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("columns", ["60", "80", "140"])
def test_no_word_of_any_help_is_cut_and_every_flag_is_there(columns: str) -> None:
    for name in ["", *_commands(ROOT)]:
        shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": columns}).stdout
        assert "…" not in shown
        assert not [line for line in shown.splitlines() if line.endswith("...") and "ARGS" not in line]
        assert shown.isascii()
        command = ROOT
        for word in name.split():
            command = command.commands[word]  # type: ignore[attr-defined]
        for parameter in command.params:
            assert all(flag in shown for flag in parameter.opts if flag.startswith("--")), (name, parameter.name)


def test_a_terminal_that_knows_ascii_alone_shows_every_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coppice", "report", "übersicht"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for more, code in ((["--help"], 0), ([], 2), (["--json"], 2)):
        done = subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
