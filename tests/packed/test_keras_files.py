"""Packed Keras models: what is in the file, by hand, and the user's own kind of file that the loader makes of it.

That real Keras loads it is proven in `tests/dialects/test_packed.py`.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from coppice import pipeline
from coppice.errors import PrecisionImpossible, ReloadFailed
from coppice.formats import open_upload
from coppice.formats.packed import file as packed
from coppice.formats.packed.keras_files import write
from coppice.formats.quantized import Quantizing, Written
from coppice.quant.packing import pack
from coppice.records.frameworks import Framework
from coppice.records.quantization import Activations, Format, Precision
from coppice.records.report import Arithmetic
from coppice.records.request import Part, Request, Task
from tests.keras.builders import input_layer, layer, numbers, sequential, weights, write_h5, write_keras
from tests.packed.by_hand import BITS, rounded, task
from tests.packed.bytes_by_hand import ByHand
from tests.packed.elsewhere import run

CONFIG = sequential(
    [
        input_layer((8, 8, 3)),
        layer("Conv2D", "conv", filters=6, kernel_size=[3, 3], strides=[1, 1], padding="same", activation="relu"),
        layer("GlobalAveragePooling2D", "mean"),
        layer("Dense", "dense", units=4, activation="softmax"),
    ]
)
KERNEL, BIAS = numbers(3, 3, 3, 6), numbers(6)
DENSE, DENSE_BIAS = numbers(6, 4, seed=1), numbers(4, seed=1)

UNPACK = """
import importlib
sys.modules["torch"] = None
print(importlib.import_module("load_quantized_keras").unpack(sys.argv[2], sys.argv[3]))
"""


def h5(folder: Path) -> Path:
    arrays = {
        "conv": weights("conv", kernel=KERNEL, bias=BIAS),
        "mean": {},
        "dense": weights("dense", kernel=DENSE, bias=DENSE_BIAS),
    }
    return write_h5(folder / "model.h5", CONFIG, arrays)


def keras(folder: Path) -> Path:
    return write_keras(folder / "model.keras", CONFIG, {"conv2d": [KERNEL, BIAS], "dense": [DENSE, DENSE_BIAS]})


#: Kind of file -> the addresses of the two kernels in it.
KINDS = {
    h5: ("model_weights/conv/conv/kernel:0", "model_weights/dense/dense/kernel:0"),
    keras: ("layers/conv2d/vars/0", "layers/dense/vars/0"),
}


def given(model: Path, precision: str, samples: torch.Tensor | None = None) -> Quantizing:
    request = Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: model.name})
    return task(open_upload(request, {Part.MODEL: model}), precision, samples=samples, axis=-1)


def written(quantizing: Quantizing, folder: Path) -> tuple[Written, ByHand, Path]:
    out = folder / "out"
    out.mkdir()
    done = write(quantizing, out)
    return done, ByHand(out / done.artifacts[0].file), out


def unpacked(out: Path, done: Written) -> Path:
    """What the loader makes of the file where neither torch nor anything of ours is."""
    return Path(run(UNPACK, out, out / done.artifacts[0].file, out).strip())


def arrays_in(path: Path, folder: Path) -> dict[str, NDArray[Any]]:
    """Every array of an HDF5 file, or of the one in an archive, by address."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path = Path(archive.extract("model.weights.h5", folder))
    found: dict[str, NDArray[Any]] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, held: found.update({name: held[()]}) if isinstance(held, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize(("kind", "precision"), [(h5, "int2"), pytest.param(keras, "int4", marks=pytest.mark.slow)])
def test_the_bytes_of_a_packed_model_are_those_of_its_bits(tmp_path: Path, kind: Any, precision: str) -> None:
    done, by_hand, out = written(given(kind(tmp_path), precision, torch.rand(20, 8, 8, 3)), tmp_path)
    bits = BITS[precision]
    back = arrays_in(unpacked(out, done), tmp_path)
    for address, kernel in zip(KINDS[kind], (KERNEL, DENSE), strict=True):
        codes, scale = rounded(kernel, bits, axis=-1)
        assert len(by_hand.bytes_of(address)) == math.ceil(kernel.size * bits / 8)
        assert np.array_equal(by_hand.value(address), codes * scale)
        assert np.array_equal(back[address], codes * scale)
        assert back[address].dtype == np.float32
    assert done.bytes_by_type == {
        precision: math.ceil(162 * bits / 8) + 24 * bits // 8,
        "float32": 4 * (6 + 4) + 4 * (6 + 4),
    }
    assert done.arithmetic is Arithmetic.FLOAT
    assert done.operators == {"convolution": 1, "addmm": 1}


def test_the_outputs_are_those_of_rounded_kernels(tmp_path: Path) -> None:
    samples = torch.rand(20, 8, 8, 3)
    done, _, _ = written(given(h5(tmp_path), "int4", samples), tmp_path)
    codes, scale = rounded(KERNEL, 4, axis=-1)
    kernel = torch.from_numpy(codes * scale).permute(3, 2, 0, 1)
    seen = torch.conv2d(samples.permute(0, 3, 1, 2), kernel, torch.from_numpy(BIAS), padding=1).relu().mean((2, 3))
    codes, scale = rounded(DENSE, 4, axis=-1)
    expected = (seen @ torch.from_numpy(codes * scale) + torch.from_numpy(DENSE_BIAS)).softmax(-1)
    assert done.outputs is not None
    assert torch.allclose(done.outputs[0], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_unpacked_file_says_what_the_original_said(tmp_path: Path, kind: Any) -> None:
    model = kind(tmp_path)
    done, _, out = written(given(model, "bfloat16"), tmp_path)
    back = unpacked(out, done)
    assert back.suffix == model.suffix
    if kind is keras:
        with zipfile.ZipFile(model) as before, zipfile.ZipFile(back) as after:
            for member in ("config.json", "metadata.json"):
                assert json.loads(after.read(member)) == json.loads(before.read(member))
        return
    with h5py.File(model) as before, h5py.File(back) as after:
        for name in ("keras_version", "backend"):
            assert after.attrs[name] == before.attrs[name]
        assert json.loads(after.attrs["model_config"]) == json.loads(before.attrs["model_config"])
        layers = [name.decode() for name in after["model_weights"].attrs["layer_names"]]
        assert layers == ["conv", "mean", "dense"]
        for layer_name in layers:
            own = after["model_weights"][layer_name].attrs["weight_names"]
            assert list(own) == list(before["model_weights"][layer_name].attrs["weight_names"])
    kernel = arrays_in(back, tmp_path)[KINDS[h5][0]]
    assert np.array_equal(kernel, torch.from_numpy(KERNEL).bfloat16().float().numpy())


def test_a_model_that_does_not_come_back_is_not_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "pack", lambda codes, bits: pack(codes, bits)[::-1].copy())
    with pytest.raises(ReloadFailed, match="conv/kernel:0 was not restored"):
        written(given(h5(tmp_path), "int4"), tmp_path)


def test_a_file_that_holds_texts_is_refused_by_address(tmp_path: Path) -> None:
    model = h5(tmp_path)
    with h5py.File(model, "r+") as file:
        file["model_weights/mean"].create_dataset("words", data=np.array([b"cat", b"dog"]))
    with pytest.raises(PrecisionImpossible, match="model_weights/mean/words holds texts"):
        written(given(model, "int4"), tmp_path)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_keras_model_may_be_kept_in_halves_and_computes_in_floats(half: str) -> None:
    request = Request(
        framework=Framework.KERAS,
        task=Task.QUANTIZE,
        percent=0,
        precision=Precision(half),
        output_format=Format.SAFETENSORS,
    )
    assert request.quantization is not None
    numbers = request.quantization.numbers
    assert (numbers.weights, numbers.biases, numbers.activations) == (half, half, Activations.FLOAT32)


@pytest.mark.slow
def test_a_job_packs_a_keras_model(tmp_path: Path) -> None:
    model, out = h5(tmp_path), tmp_path / "out"
    out.mkdir()
    np.savez(tmp_path / "samples.npz", numbers(40, 8, 8, 3))
    files = {Part.MODEL: model, Part.DATASET: tmp_path / "samples.npz"}
    request = Request(
        framework=Framework.KERAS,
        task=Task.QUANTIZE,
        percent=0,
        precision=Precision.BFLOAT16,
        files={part: path.name for part, path in files.items()},
    )
    report = pipeline.quantize(request, files, out, lambda _: None)
    assert report.quantized is not None
    assert report.quantized.output_format is Format.SAFETENSORS
    assert report.quantized.bytes_by_type["bfloat16"] == 2 * (162 + 24 + 6 + 4)
    assert report.quantized.snr_db is not None
    assert report.quantized.snr_db > 30
