"""Keras files and archives that are broken, partial, or reach for what is not theirs."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from tests.hostile.case import Case, End
from tests.keras_h5 import Layer, convolution, dense, sequential
from tests.serving import Files

pytestmark = pytest.mark.slow

QUERY = {"percent": "0.5"}
KERNEL = "model_weights/dense/dense/kernel:0"
GIB = 1024**3
LAYERS = [dense("dense", 4, 8, "relu"), dense("dense_1", 8, 2, "softmax")]


def small() -> bytes:
    return sequential(LAYERS, (4,))


def model(content: bytes, name: str = "small.h5") -> Callable[[], Files]:
    return lambda: {"model": (name, content)}


def edited(change: Callable[[h5py.File], None]) -> bytes:
    buffer = io.BytesIO(small())
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def without_model(file: h5py.File) -> None:
    del file.attrs["model_config"]


def linked_outside(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/")


def stored_outside(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 8), np.float32, external=[("/etc/passwd", 0, 128)])


def virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((4, 8), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "/", (4, 8))
    file.create_virtual_dataset(KERNEL, layout)


def huge(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (1 << 20, 1 << 16), np.float32, chunks=(1024, 1024))


def endless(file: h5py.File) -> None:
    file.attrs["model_config"] = "[" * 50_000


def padding() -> bytes:
    wide = [[10**6, 10**6], [10**6, 10**6]]
    layers = [
        convolution("conv2d", 1, 4),
        Layer(kind="ZeroPadding2D", name="pad", config={"padding": wide, "data_format": "channels_last"}),
        Layer(kind="GlobalAveragePooling2D", name="mean", config={"data_format": "channels_last"}),
        dense("dense", 4, 2, "softmax"),
    ]
    return sequential(layers, (6, 6, 1))


def named_in_half_a_character() -> bytes:
    first, last = LAYERS
    return sequential([replace(first, config={**first.config, "name": "\ud800"}), last], (4,))


def with_layer(kind: str, config: Mapping[str, Any]) -> bytes:
    layers = [
        dense("dense", 4, 8, "relu"),
        Layer(kind=kind, name="mine", config=config),
        dense("dense_1", 8, 2, "softmax"),
    ]
    return sequential(layers, (4,))


def archive(*members: str | zipfile.ZipInfo) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for member in members:
            made.writestr(member, b"/etc/passwd")
    return buffer.getvalue()


def symbolic_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def ten_gibibytes() -> bytes:
    """Forty members of 256 MiB of zeros, each a real deflate stream of a quarter of a MiB: 10 MiB that make 10 GiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        made.writestr("saved_model.pb", bytes(GIB // 4))
        (first,) = made.filelist
        record = bytearray(buffer.getvalue())
        name_at = struct.calcsize("<4s5H3L2H")
        buffer.seek(0, io.SEEK_END)
        for number in range(1, 40):
            info = copy(first)
            info.filename = info.orig_filename = f"saved_model.{number:02}"
            info.header_offset = buffer.tell()
            record[name_at : name_at + len(info.filename)] = info.filename.encode()
            buffer.write(record)
            made.filelist.append(info)
        made.start_dir = buffer.tell()
    return buffer.getvalue()


LAMBDA = {"function": ["4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMIAAAAfABkARQAUwA=\n", None, None], "function_type": "lambda"}


def case(code: str, *says: str, files: Callable[[], Files]) -> Case:
    return Case(call="tf_prune", query=QUERY, code=code, says=says, files=files)


CASES = {
    "a truncated .h5": case("truncated_file", "small.h5", "damaged", files=model(small()[:4000])),
    "an .h5 with weights only": case(
        "weights_only", "save_weights", "model.save('model.h5')", files=model(edited(without_model))
    ),
    "an .h5 that is none": case(
        "unknown_format", "small.h5 is of an unknown kind", "a model saved by Keras", files=model(b"hello" * 100)
    ),
    "a Lambda layer": case(
        "nothing_to_prune", "'mine' is a Lambda, whose code is not run", files=model(with_layer("Lambda", LAMBDA))
    ),
    "a custom layer": case(
        "nothing_to_prune", "'mine' is a Mine, whose code is not run", files=model(with_layer("Mine", {}))
    ),
    "a layer that loads another file": case(
        "unsupported_layer", "'mine' is a TFSMLayer", files=model(with_layer("TFSMLayer", {"filepath": "/etc"}))
    ),
    "an external link": case(
        "hostile_file", KERNEL, "link", "Save the model again", files=model(edited(linked_outside))
    ),
    "external storage": case("hostile_file", KERNEL, "another file", files=model(edited(stored_outside))),
    "a virtual dataset": case("hostile_file", KERNEL, "virtual dataset", files=model(edited(virtual))),
    "an array of 256 GiB in a small file": case(
        "hostile_file", "claims 274,877,906,944 bytes", files=model(edited(huge))
    ),
    "a name in half a character": case(
        "bad_upload", "half a character", "Rename the layer", files=model(named_in_half_a_character())
    ),
    "an input of 10^18 numbers": case(
        "input_size_invalid", "the limit is 67,108,864", files=model(sequential(LAYERS, (10**9, 10**9, 4)))
    ),
    "a layer that makes images of 10^12 pixels": case("out_of_memory", "3,072 MiB", files=model(padding())),
    "a configuration without end": case("hostile_file", "nested beyond reason", files=model(edited(endless))),
    "a saved model of noise": case(
        "truncated_file",
        "saved_model.pb is damaged",
        files=lambda: {"model": ("saved.zip", archive("variables/variables.index", "saved_model.pb"))},
    ),
    "a zip that climbs out": case(
        "hostile_file",
        "'../../../../etc/cron.d/evil'",
        "not plainly inside",
        files=model(archive("saved_model.pb", "../../../../etc/cron.d/evil"), "saved.zip"),
    ),
    "a zip with an absolute path": case(
        "hostile_file",
        "'/etc/evil'",
        "not plainly inside",
        files=model(archive("saved_model.pb", "/etc/evil"), "saved.zip"),
    ),
    "a zip with a symbolic link": case(
        "hostile_file",
        "'variables/variables.index' is a link",
        files=model(archive("saved_model.pb", symbolic_link("variables/variables.index")), "saved.zip"),
    ),
    "a zip bomb of 10 GiB": case(
        "hostile_file", "10,737,418,240 bytes when unpacked", files=lambda: {"model": ("saved.zip", ten_gibibytes())}
    ),
    "a .keras that climbs out": case(
        "hostile_file",
        "'../evil'",
        files=model(archive("config.json", "metadata.json", "model.weights.h5", "../evil"), "small.keras"),
    ),
    "a zip of something else": case(
        "unknown_format", "a zip archive", "SavedModel", files=model(archive("a.txt"), "saved.zip")
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_keras_file_fails_its_job_with_its_own_reason(case: Case, refused: End) -> None:
    assert refused.http == 200
