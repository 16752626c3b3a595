"""Entry points of other packages: what they are called, and how one is loaded.

Names are read from the metadata of what is installed, so that the server can check a request by them; only the engine
loads one, in the process that runs the model.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from coppice.errors import ParameterInvalid

#: Group of the criteria of other packages: `name = "package.module:criterion"`. What they are: `coppice.criteria`.
CRITERIA = "coppice.criteria"
#: Group of the formats of other packages: `suffix = "package.module:open"`. What that is: `coppice.formats`.
FORMATS = "coppice.formats"

#: Suffixes that mean something without any plugin, and that none can take.
_OWN = frozenset(
    "bin ckpt h5 hdf5 json keras npy npz onnx pkl pt pth py safetensors tar tflite zip".split()  # noqa: SIM905
)


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """What is installed for a group, by name; of two with one name, the first on the path of this process."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return found


def formats() -> dict[str, EntryPoint]:
    """The formats of other packages, by the suffix of their files: `.mlp`."""
    found = {name.lower(): entry for name, entry in plugins(FORMATS).items()}
    return {f".{name}": entry for name, entry in found.items() if name.isalnum() and name not in _OWN}


def source(entry: EntryPoint) -> str:
    """The package that brings it, for errors."""
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def load(entry: EntryPoint, field: str) -> Any:
    """Import it; raises ParameterInvalid, which names the package at fault."""
    try:
        return entry.load()
    except Exception as e:  # the import runs code of others, which may raise anything
        raise ParameterInvalid(
            f"The plugin {entry.name!r} of {source(entry)} ({entry.value}) can't be loaded: {type(e).__name__}: {e}. "
            "Mend or uninstall it.",
            field=field,
        ) from e
