"""`coppice doctor`: whether this machine can run the service, and what is missing."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.markup import escape

from coppice.cli import output
from coppice.cli.serve import read_settings

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

        opened = sandbox.examine(read_settings())
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
