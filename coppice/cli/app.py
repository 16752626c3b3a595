"""The table of commands."""

from __future__ import annotations

import io
import sys

import typer

from coppice.cli.audit import audit
from coppice.cli.demo import demo
from coppice.cli.doctor import doctor
from coppice.cli.examples import Commands, epilog, exit_codes
from coppice.cli.explain import explain
from coppice.cli.inspect import inspect
from coppice.cli.jobs import jobs
from coppice.cli.keys import keys
from coppice.cli.migrate import migrate
from coppice.cli.prune import prune
from coppice.cli.quantize import quantize
from coppice.cli.report import report
from coppice.cli.serve import serve
from coppice.cli.sweep import sweep
from coppice.cli.work import work

app = typer.Typer(
    name="coppice",
    cls=Commands,
    help="Remove whole channels from PyTorch, Keras and ONNX models, exactly, and keep what is left in fewer bits.",
    epilog=exit_codes(),
    no_args_is_help=True,
    # A failure of the user's files is told by its message (`output.reported`); a traceback is left for our own faults.
    pretty_exceptions_enable=False,
    # Help in plain lines: the frames that rich draws cut flags and words short in a terminal of 80 columns, and need
    # more than ASCII.
    rich_markup_mode=None,
)
for command in (prune, sweep, quantize, inspect, report, serve, work, migrate, doctor, explain, demo):
    app.command(epilog=epilog(command.__name__))(command)
app.add_typer(keys, name="keys")
app.add_typer(jobs, name="jobs")
app.command(epilog=epilog("audit"))(audit)


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A layer's name, or a path, that the terminal's encoding has no letters for is no reason to end.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
