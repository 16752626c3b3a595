"""The README is true: its Python runs, its commands print what it shows, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONSOLE = [block for language, block in BLOCKS if language == "console"]

#: What differs between two machines, or between trained and random weights.
VARIES = (
    (r"^( latency of one sample.*?) +[\d.]+(?: ms)? +[\d.]+(?: ms)?( +[\d.]+%)?", r"\1"),
    (r"^( bytes of the file) +[\d,]+ +[\d,]+ +[\d.]+%", r"\1"),
    (r"difference \S+", "difference"),
    (r"\([\d,]+ bytes\)", ""),
)


def test_every_link_leads_to_something() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_address_and_flag_that_is_shown_exists() -> None:
    from coppice.http.routes import ADDRESSES

    shown = set(re.findall(r"8443(/api/\w+/?)", README))
    named = {ADDRESSES[name][1] for name in re.findall(r"`(\w+)`", README) if name in ADDRESSES}
    assert shown | named == {address for _, address in ADDRESSES.values()}


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for language, block in BLOCKS if language == "python"])
def test_the_python_runs_as_printed(block: str, tmp_path: Path) -> None:
    program = tmp_path / "readme.py"
    program.write_text(block)
    found = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_coppice_prune_prints_what_is_shown(tmp_path: Path) -> None:
    command, _, shown = next(block for block in CONSOLE if block.startswith("$ coppice prune mnist_cnn")).partition(
        "\n"
    )
    shutil.copy(ROOT / "examples/demo/user_torch/model.py", tmp_path)
    _save_random_net(tmp_path / "mnist_cnn.pth")
    arguments = shlex.split(command.removeprefix("$ "))
    found = subprocess.run(
        [Path(sys.executable).with_name("coppice"), *arguments[1:]],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "110"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert _fixed(found.stdout) == _fixed(shown)


@pytest.mark.dialects
def test_the_demo_prints_what_is_shown() -> None:
    shown = next(block for block in CONSOLE if block.startswith("$ make demo"))
    found = subprocess.run([ROOT / "scripts" / "demo"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr
    assert _exact_rows(found.stdout) == _exact_rows(shown)


def _save_random_net(path: Path) -> None:
    shapes = {"conv1": (32, 1, 3, 3), "conv2": (64, 32, 3, 3), "fc1": (128, 9216), "fc2": (10, 128)}
    state = {f"{name}.weight": torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    torch.save(state | {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}, path)


def _fixed(text: str) -> list[str]:
    # A busy machine may not tell which of the two is faster, and says so.
    lines = [line.rstrip() for line in text.strip().splitlines() if not line.startswith("warning ")]
    for pattern, kept in VARIES:
        lines = [re.sub(pattern, kept, line) for line in lines]
    return lines


def _exact_rows(text: str) -> list[list[str]]:
    """The rows whose figures no machine and no training changes; how large a quantized file is, weights decide, too."""
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if line.startswith("│")]
    return [row[:-2] for row in rows if row[1] in {"parameters", "bytes", "multiply-accumulates"}]
