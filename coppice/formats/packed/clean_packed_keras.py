"""Unpack a packed Keras model by its loader, and read what comes of it in a process that has seen nothing else.

Run by `clean_process`, which gives the paths of job and verdict on standard input.
"""

import json
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from coppice.formats.keras.file import KerasFile
from coppice.formats.keras.network import open_model
from coppice.formats.keras.source import FORMATS
from coppice.formats.packed.products import Products
from coppice.formats.sniff import sniff
from coppice.keras_layers.tree import tensors_in
from coppice.tracing import stored


def main(job_file: str, verdict_file: str) -> None:
    """Hold the unpacked file to that of the quantized model, and run it on the samples held out."""
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = read(runpy.run_path(job["loader"])["unpack"](job["file"], folder))
    failures = list(differences(unpacked, read(Path(job["written"]))))
    verdict = {"torch": torch.__version__, "failures": failures, "operators": {}}
    if not failures:
        network = open_model(unpacked).network
        given = torch.load(job["batches"], weights_only=True)["batches"]
        with torch.no_grad():
            torch.save([tensors_in(network.module(*batch)) for batch in given], job["given"])
            with Products(stored(network.module)[name] for name in job["products"]) as products:
                network.module(*network.sample)
        verdict["operators"] = dict(products.counted)
    Path(verdict_file).write_text(json.dumps(verdict))


def read(path: Path) -> KerasFile:
    """The model of a file."""
    return FORMATS[sniff(path)].read(path, path.name)


def differences(found: KerasFile, wanted: KerasFile) -> Iterator[str]:
    """What is not the same to the last bit."""
    if found.config != wanted.config or found.dialect != wanted.dialect:
        yield "its configuration is another."
    if [layer.path for layer in found.layers] != [layer.path for layer in wanted.layers]:
        yield "its layers are others."
        return
    for layer, other in zip(found.layers, wanted.layers, strict=True):
        for array, own in zip(layer.arrays, other.arrays, strict=True):
            same = array.value.dtype == own.value.dtype and np.array_equal(array.value, own.value, equal_nan=True)
            if not same or array.name != own.name:
                yield f"{own.address} was not restored."


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
