"""Good jobs that run among hostile ones: each has weights of its own, leaves traces, and fails if it sees another's."""

from __future__ import annotations

import torch

from tests.hostile.case import pytorch, saved, source
from tests.serving import Files

#: So many good jobs, one after so many hostile ones.
GOOD, EVERY = 5, 4

#: Wherever a job can write, and wherever it can look.
_LOOK = """
import os, tempfile
from pathlib import Path
mine = "neighbour-{number}"
places = {{tempfile.gettempdir(), "/dev/shm", str(Path(__file__).parents[2] / "out"), "/var/tmp", "/run"}}
for place in places:
    try:
        (Path(place) / mine).touch()
    except OSError:
        pass
for top in (*places, Path(__file__).parents[6]):
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            if name.startswith("neighbour-") and name != mine:
                raise RuntimeError("seen: " + name)
for place in {{*places}} - {{tempfile.gettempdir()}}:
    try:
        (Path(place) / mine).unlink()
    except OSError:
        pass
if any(name.startswith("NEIGHBOUR_") and name != "NEIGHBOUR_{number}" for name in os.environ):
    raise RuntimeError("seen: another's environment")
os.environ["NEIGHBOUR_{number}"] = "here"
"""


def state(number: int) -> dict[str, torch.Tensor]:
    """The weights of one of them."""
    chance = torch.Generator().manual_seed(100 + number)
    shapes = {"conv.weight": (6, 1, 3, 3), "conv.bias": (6,), "head.weight": (3, 6), "head.bias": (3,)}
    return {name: torch.rand(shape, generator=chance) for name, shape in shapes.items()}


def good(number: int) -> Files:
    """The upload of one of them."""
    return pytorch(weights=saved(state(number)), class_def=source(constructor=_LOOK.format(number=number)))
