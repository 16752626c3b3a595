"""provenance: what a job was made of, so that it can be repeated: the files of the request, and what computed.

The same request (files, parameters and seed) with the same versions gives the same bytes, but for what tells of
measured times: the reports, and the archive that holds one of them.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from coppice.records.frameworks import Framework
from coppice.records.report import InputFile
from coppice.records.request import Part, Request

#: What a result depends on beside Python and torch; a package that is not installed was not used.
PACKAGES = ("numpy", "scipy")
#: Framework -> packages that read and write its files.
OF_FRAMEWORK = {
    Framework.PYTORCH: ("safetensors", "torchvision", "onnx", "onnxscript", "onnxruntime"),
    Framework.KERAS: ("h5py", "protobuf"),
    Framework.ONNX: ("onnx", "onnxruntime"),
}


def versions(framework: Framework) -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"os": platform.platform(), "python": platform.python_version(), "torch": str(torch.__version__)}
    for package in (*PACKAGES, *OF_FRAMEWORK[framework]):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def input_files(request: Request, files: Mapping[Part, Path]) -> dict[Part, InputFile]:
    """The files of a request under the names that their user gave them."""
    return {
        part: InputFile(name=request.files.get(part, path.name), bytes=path.stat().st_size, sha256=_sha256(path))
        for part, path in files.items()
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
