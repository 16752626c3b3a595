"""`coppice doctor`: whether this machine can run the service, and what is missing."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.markup import escape

from coppice.cli import output
from coppice.cli.serve import read_settings
from coppice.errors import IsolationUnavailable

#: What is installed decides what can be done: (package, what it is for).
PACKAGES = (
    ("coppice", ""),
    ("torch", "the engine"),
    ("h5py", "Keras files"),
    ("onnx", "the artifact `onnx`; extra: onnx"),
    ("torchvision", "sample DataLoaders over its datasets; extra: server"),
    ("fastapi", "the service; extra: server"),
    ("dbos", "the service; extra: server"),
)


def doctor() -> None:
    """Say what is installed and whether jobs can be isolated; ends with 69 when they can't."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Python {platform.python_version()} on {platform.platform()}")
    for package, purpose in PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "[yellow]not installed[/]"
        console.print(f"{package:<12} {found:<12} {escape(purpose)}")
    litert = read_settings().litert_folder
    found = "[yellow]not there[/]" if litert is None else "there"
    console.print(f"{'LiteRT':<12} {found:<12} format=tflite; {escape(str(litert or 'scripts/dialects litert'))}")
    with output.reported():
        from coppice import sandbox

        isolation = sandbox.describe(read_settings())
        if isolation["level"] == "unavailable":
            raise IsolationUnavailable(" ".join(isolation["reasons"]))
        console.print(f"{'isolation':<12} {isolation['level']:<12} {escape(' '.join(isolation['reasons']))}")
