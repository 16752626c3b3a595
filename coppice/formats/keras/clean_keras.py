"""Load a written Keras file in a process that has seen nothing else, and compare its outputs with what is expected.

Run by `clean_process`, which gives the paths of job and verdict on standard input. The verdict is a list of failures,
a sentence each.
"""

import json
import sys
from pathlib import Path

import torch

from coppice.formats.keras.network import open_model
from coppice.formats.keras.source import FORMATS
from coppice.formats.sniff import sniff
from coppice.keras_layers.tree import tensors_in

#: The file holds the very numbers; only the order of additions may differ.
TOLERANCE = 1e-5


def main(job_file: str, verdict_file: str) -> None:
    """Check the one file of the job."""
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(1)
    Path(verdict_file).write_text(json.dumps(failures(Path(job["model"]), Path(job["expected"]))))


def failures(written: Path, expected_file: Path) -> list[str]:
    """What is wrong with the file; nothing, if all is well."""
    expected = torch.load(expected_file, weights_only=True)
    module = open_model(FORMATS[sniff(written)].read(written, written.name)).network.module
    with torch.no_grad():
        found = tensors_in(module(*expected["inputs"]))
    wanted = expected["outputs"]
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in wanted]:
        return [f"its outputs have the shapes {[tuple(tensor.shape) for tensor in found]}."]
    return [
        f"output {number} differs by up to {(got - want).abs().max().item():g}."
        for number, (got, want) in enumerate(zip(found, wanted, strict=True))
        if not torch.allclose(
            got, want, rtol=0, atol=TOLERANCE * max(want.nan_to_num().abs().max().item(), 1e-30), equal_nan=True
        )
    ]


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
