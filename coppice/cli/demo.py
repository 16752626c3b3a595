"""`coppice demo`: a network of one's own in half a minute, and the commands that prune it, typed for the reader."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from coppice.cli import options, output, running
from coppice.cli.stopping import EXIT_CODE
from coppice.errors import ParameterInvalid

#: Where `coppice.demo` has what is copied.
_HERE = Path(__file__).parents[1] / "demo"
_PROGRAMS = ("model.py", "train.py")

_MODEL = "shapes.pth --class-def model.py --model-name Net --input-size 1,16,16"
PRUNE = f"coppice prune {_MODEL} --dataset samples.npz --percent 0.5 -o pruned/"
#: What one might type after that, in the same folder.
NEXT = (
    f"coppice inspect {_MODEL}",
    f"coppice sweep {_MODEL} --dataset samples.npz --percents 0.25,0.5,0.75 -o curve/",
    f"coppice prune {_MODEL} --dataset samples.npz --percent 0.5 --quantize int8 -o small.onnx",
)

Folder = Annotated[
    Path, typer.Argument(help="where the model, its training and the result go; a folder that is not there yet")
]


def demo(folder: Folder = Path("coppice-demo"), as_json: options.Json = False) -> None:
    """Train a small network without any download, then prune half of its channels, showing every command."""
    with output.reported(as_json=as_json):
        if importlib.util.find_spec("torch") is None:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        if folder.exists():
            raise ParameterInvalid(f"{folder} is there already. Name another folder, or delete it.", field="folder")
        with running.writing(folder, "folder"):
            folder.mkdir(parents=True)
            for program in _PROGRAMS:
                shutil.copyfile(_HERE / program, folder / program)
        console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        _run(console, folder, "python train.py", [sys.executable, "train.py"], quiet=as_json)
        command = shlex.split(PRUNE)[1:]
        _run(console, folder, PRUNE, [sys.executable, "-m", "coppice", *command, *(["--json"] if as_json else [])])
        if not as_json:
            console.print(f"\n[bold]All of it is in {folder}/[/]: pruned/report.html is for a browser. Go on there:")
            for line in NEXT:
                console.print(f"$ {line}", markup=False)


def _run(console: Console, folder: Path, shown: str, command: list[str], *, quiet: bool = False) -> None:
    """Show a command and run it in the folder; ends as it does where it fails."""
    console.print(f"\n[bold]$ {shown}[/]")
    try:
        # What is printed on the way is no part of the one document of --json.
        done = subprocess.run(command, cwd=folder, check=False, stdout=sys.stderr if quiet else None)  # noqa: S603
    except KeyboardInterrupt as stopped:
        # It got the signal, too, and ended before us.
        raise KeyboardInterrupt(f"Stopped. {folder} keeps what was made so far.") from stopped
    if done.returncode:
        raise typer.Exit(EXIT_CODE if done.returncode < 0 else done.returncode)
