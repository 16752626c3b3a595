"""What the help of a command shows beside its flags: calls that it reads, which a test holds, and what it ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

from coppice.cli.stopping import EXIT_CODE

_TORCH = "weights.pth --class-def model.py --model-name Net --input-size 1,28,28"
_THERE = "--server https://127.0.0.1:8443 --insecure"
_JOB = "3f2c9a4e-0d8b-4f0e-9f57-6a1f2f6f2d10"

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "prune": (
        "coppice prune model.h5 --percent 0.4 -o smaller.h5",
        f"coppice prune {_TORCH} --percent 0.5 --omit fc1,fc2 -o pruned/",
        "coppice prune model.onnx --percent 0.5 --dataset train.npz --quantize int8 -o small.onnx",
        f"coppice prune model.h5 --percent 0.4 -o smaller.h5 {_THERE}",
    ),
    "sweep": ("coppice sweep model.h5 --percents 0.2,0.4,0.6,0.8 --dataset train.npz -o curve/",),
    "quantize": (
        "coppice quantize model.onnx --precision int8 --dataset train.npz -o small.onnx",
        "coppice quantize model.h5 --precision float16 -o small.tflite",
    ),
    "inspect": ("coppice inspect model.h5 --percent 0.4", f"coppice inspect {_TORCH} --json"),
    "report": (
        "coppice report pruned/",
        "coppice report pruned/report.json --html report.html",
        f"coppice report {_JOB} {_THERE}",
    ),
    "serve": ("coppice serve", "coppice serve --data /var/lib/coppice --host 0.0.0.0"),
    "work": ("coppice work --database-url postgresql://coppice@db/coppice --workers 2",),
    "migrate": ("coppice migrate --database-url postgresql://coppice@db/coppice",),
    "doctor": ("coppice doctor", "coppice doctor --json"),
    "demo": ("coppice demo", "coppice demo tried/"),
    "explain": ("coppice explain unsupported_layer", "coppice explain", "coppice explain time_limit --json"),
    "audit": ("coppice audit --since 2d --last 50", "coppice audit --client ann --json"),
    "keys": ("coppice keys create ann", "coppice keys list"),
    "keys create": ("coppice keys create ann --expires 90d",),
    "keys rotate": ("coppice keys rotate 5b1f6c02 --grace 1d",),
    "keys list": ("coppice keys list --json",),
    "keys revoke": ("coppice keys revoke 5b1f6c02",),
    "keys webhook-secret": ("coppice keys webhook-secret ann",),
    "jobs": (f"coppice jobs list {_THERE}",),
    "jobs list": (f"coppice jobs list --state running {_THERE}",),
    "jobs show": (f"coppice jobs show {_JOB} {_THERE}",),
    "jobs wait": (f"coppice jobs wait {_JOB} {_THERE}",),
    "jobs download": (f"coppice jobs download {_JOB} -o results/ {_THERE}",),
    "jobs cancel": (f"coppice jobs cancel {_JOB} {_THERE}",),
    "jobs delete": (f"coppice jobs delete {_JOB} {_THERE}",),
}

#: What a command ends with, beside 0; the errors of each are in the reference.
EXIT_CODES: Mapping[int, str] = {
    2: "a wrong call",
    3: "a file that is not what it should be",
    4: "the model's own code failed",
    5: "a model that can't be cut correctly",
    6: "a limit of the sandbox",
    7: "a key or a job that gives no access",
    69: "something is not installed, or a service away",
    70: "our own fault",
    75: "the database or the storage of a service is away",
    EXIT_CODE: "stopped by Ctrl-C or SIGTERM",
}


def epilog(command: str) -> str:
    """The examples of a command, as its help shows them: each on a line, to be copied."""
    return "\n  ".join(("\b\nExamples:", *EXAMPLES[command]))


def exit_codes() -> str:
    """What the commands end with."""
    return "\n".join(("\b\nEnds with 0, or:", *(f"{code:>5}  {what}" for code, what in EXIT_CODES.items())))


class Commands(TyperGroup):
    """A list of commands that says of each all of its first sentence, where click cuts what is longer than a line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list."""
        for command in self.commands.values():
            command.short_help = (command.help or "").partition("\n\n")[0]
        super().format_commands(ctx, formatter)
