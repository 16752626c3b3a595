"""`coppice doctor`: whether this machine can run the service, and what is missing."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from coppice.cli import output
from coppice.cli.options import Json
from coppice.cli.serve import read_settings

if TYPE_CHECKING:
    from coppice.sandbox.opening import Opened

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


def doctor(as_json: Json = False) -> None:
    """Say what is installed and whether jobs can be isolated; ends with 69 when they can't."""
    console = Console(highlight=False, soft_wrap=True)
    packages = {package: _version(package) for package, _ in PACKAGES}
    with output.reported(as_json=as_json):
        settings = read_settings()
        litert = settings.litert_folder
        if not as_json:
            _print_packages(console, packages, litert)
        from coppice import sandbox

        opened = sandbox.examine(settings)
        if as_json:
            there = {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}
            isolation = {**opened.describe(), "contained": dict(opened.contained)}
            output.print_json({**there, "litert": None if litert is None else str(litert), "isolation": isolation})
        else:
            _print_isolation(console, opened)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print_packages(console: Console, packages: Mapping[str, str | None], litert: Path | None) -> None:
    console.print(f"Python {platform.python_version()} on {platform.platform()}")
    for package, purpose in PACKAGES:
        console.print(f"{package:<12} {packages[package] or '[yellow]not installed[/]':<12} {escape(purpose)}")
    found = "[yellow]not there[/]" if litert is None else "there"
    console.print(f"{'LiteRT':<12} {found:<12} format=tflite; {escape(str(litert or 'scripts/dialects litert'))}")


def _print_isolation(console: Console, opened: Opened) -> None:
    facts = opened.describe()
    console.print(f"{'isolation':<12} {facts['level']:<12} {escape(facts['mechanism'])}")
    console.print(f"{'  Landlock':<12} {facts['landlock_abi'] or 'none':<12} version of the kernel's; C needs 6")
    console.print(f"{'  cgroup':<12} {facts['cgroup'] or 'none':<12} limits of a whole job, not only of a process")
    console.print(f"{'  users':<12} {'one per job' if facts['uid_per_job'] else 'one for all':<12}")
    for reason in facts["why_not_higher"]:
        console.print(f"{'  because':<12} {escape(reason)}")
    if opened.contained:
        console.print("Tried from inside, and contained:")
    for probe, failure in opened.contained.items():
        console.print(f"  {probe:<34} {failure}")
