"""Keras files and archives that are broken, partial, or reach for what is not theirs."""

from __future__ import annotations

import io
import json
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from itertools import product
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


def linked_inside(file: h5py.File) -> None:
    file["model_weights/again"] = h5py.SoftLink("/model_weights")


def circular(file: h5py.File) -> None:
    file["model_weights/again"] = file["model_weights"]


def of_kind(kind: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, (4, 8), kind)

    return change


def filtered(file: h5py.File) -> None:
    """By a filter that is not there: libhdf5 would look for its plugin."""
    del file[KERNEL]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 8))
    properties.set_filter(305, h5py.h5z.FLAG_OPTIONAL, (1,))
    sizes = h5py.h5s.create_simple((4, 8))
    h5py.h5d.create(file.id, KERNEL.encode(), h5py.h5t.IEEE_F32LE, sizes, properties)


def chunked(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 8), np.float32, maxshape=(None, None), chunks=(1 << 14, 1 << 15))


def of_zeros(file: h5py.File) -> None:
    """A gibibyte in a megabyte, at the ratio that gzip reaches: no lie, and no kernel of this layer either."""
    del file[KERNEL]
    made = file.create_dataset(KERNEL, (1 << 14, 1 << 14), np.float32, chunks=(1 << 13, 1 << 12), compression=9)
    zeros = zlib.compress(bytes(made.nbytes // 8), 9)
    for row, column in product(range(0, 1 << 14, 1 << 13), range(0, 1 << 14, 1 << 12)):
        made.id.write_direct_chunk((row, column), zeros)


def pointed_at(file: h5py.File) -> None:
    file.attrs["model_config"] = file.ref


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


def repeating() -> bytes:
    vector = Layer(kind="RepeatVector", name="often", config={"n": 1 << 40})
    return sequential([LAYERS[0], vector, LAYERS[1]], (4,))


def growing() -> bytes:
    larger = {"size": [1 << 15, 1 << 15], "data_format": "channels_last", "interpolation": "nearest"}
    layers = [convolution("a", 1, 4), Layer(kind="UpSampling2D", name="up", config=larger), convolution("b", 4, 4)]
    return sequential(layers, (8, 8, 1))


def calling(function: Any) -> bytes:
    first, last = LAYERS
    return sequential([replace(first, config={**first.config, "activation": function}), last], (4,))


#: Where the Keras of today names a function in a configuration.
COMMAND = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}


def keras(*layers: Mapping[str, Any], arrays: bytes | None = None, extra: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """A .keras archive of these layers; without arrays unless they are given."""
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "dtype": "float32", "name": "in"}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [first, *layers]}}
    if arrays is None:
        arrays = hdf5(lambda file: file.create_group("layers"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members with one name
        for name, content in (
            ("config.json", json.dumps(config).encode()),
            ("metadata.json", b'{"keras_version": "3.15.1"}'),
            ("model.weights.h5", arrays),
            *extra,
        ):
            made.writestr(name, content)
    return buffer.getvalue()


def hdf5(change: Callable[[h5py.File], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file)
    return buffer.getvalue()


def layer(kind: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": {"name": "mine", **config}, "registered_name": None}


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
        "model_invalid", "half a character", "Rename the layer", files=model(named_in_half_a_character())
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
    "a soft link": case("hostile_file", "/model_weights/again is a link", files=model(edited(linked_inside))),
    "groups in a circle": case("hostile_file", "reached twice", files=model(edited(circular))),
    "references to objects": case("hostile_file", "holds object", files=model(edited(of_kind(h5py.ref_dtype)))),
    "arrays of any length": case(
        "hostile_file", "holds object", files=model(edited(of_kind(h5py.vlen_dtype(np.float32))))
    ),
    "numbers and texts in one": case(
        "hostile_file", "instead of numbers", files=model(edited(of_kind(np.dtype([("a", "<f4"), ("b", "S5")]))))
    ),
    "a filter of a plugin": case("hostile_file", "uses the filters [305]", files=model(edited(filtered))),
    "32 numbers in a chunk of 2 GiB": case(
        "hostile_file", "has 128 bytes in chunks of 2,147,483,648", files=model(edited(chunked))
    ),
    "a gibibyte of zeros": case("model_invalid", "at layer 'dense' (Dense)", files=model(edited(of_zeros))),
    "a configuration that is a reference": case("truncated_file", "not JSON", files=model(edited(pointed_at))),
    "a layer that repeats without end": case("model_invalid", "'often' (RepeatVector)", files=model(repeating())),
    "a layer that makes an image of a terabyte": case("out_of_memory", "3,072 MiB", files=model(growing())),
    "a command for an activation": case(
        "nothing_to_prune", "'os.system' of layer 'dense' is not a Keras function", files=model(calling("os.system"))
    ),
    "a command by its module": case(
        "nothing_to_prune", "'system' of layer 'dense' is not a Keras function", files=model(calling(COMMAND))
    ),
    "a .keras of a command": case(
        "nothing_to_prune",
        "No layer in it has weights",
        files=model(keras(layer("system", "os", command="cat /etc/passwd")), "s.keras"),
    ),
    "a .keras that loads a folder": case(
        "unsupported_layer", "'mine' is a TFSMLayer", files=model(keras(layer("TFSMLayer", filepath="/etc")), "s.keras")
    ),
    "a .keras of a million million units": case(
        "model_invalid", "'mine' (Dense)", files=model(keras(layer("Dense", units=1 << 40)), "s.keras")
    ),
    "a .keras whose arrays are elsewhere": case(
        "hostile_file",
        "model.weights.h5: /layers is a link",
        files=model(
            keras(arrays=hdf5(lambda f: f.__setitem__("layers", h5py.ExternalLink("/etc/passwd", "/")))), "s.keras"
        ),
    ),
    "a .keras with two configurations": case(
        "hostile_file",
        "two members are called 'config.json'",
        files=model(keras(extra=[("config.json", b"{}")]), "s.keras"),
    ),
    "a .keras with more than its three members": case(
        "hostile_file", "holds 'evil.py'", files=model(keras(extra=[("evil.py", b"1")]), "s.keras")
    ),
    "a .keras of 256 MiB of nothing": case(
        "disk_limit", "job_output_bytes", files=model(keras(arrays=bytes(GIB // 4)), "s.keras")
    ),
    "a zip of something else": case(
        "unknown_format", "a zip archive", "SavedModel", files=model(archive("a.txt"), "saved.zip")
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_keras_file_fails_its_job_with_its_own_reason(case: Case, refused: End) -> None:
    assert refused.http == 200
