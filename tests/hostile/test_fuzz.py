"""Good files of every kind, cut off or with bits flipped: the engine's child always ends, and always with a reason.

Not through the service, but by the very code that runs in its sandboxes: there are some hundred of them.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save
from torch.utils.data import DataLoader, TensorDataset

from coppice.errors import BY_CODE, InternalError
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.request import Part, Request
from tests.hostile import engine
from tests.hostile.case import saved, source, weights
from tests.hostile.test_keras_uploads import hdf5, keras, layer, small
from tests.hostile.test_onnx_uploads import good as good_onnx
from tests.hostile.test_onnx_uploads import zipped as zipped_onnx

pytestmark = pytest.mark.slow

#: Spoiled copies of each file: half of them cut off, half with a few bits flipped.
COPIES = 12
#: Drawn once: the same copies every time.
SEED = 20261122

IMAGES = np.random.default_rng(1).normal(size=(24, 1, 8, 8)).astype(np.float32)


def tensors() -> dict[str, torch.Tensor]:
    return dict(torch.load(io.BytesIO(weights())))


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=IMAGES, y=np.arange(24) % 3)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    return buffer.getvalue()


def archive() -> bytes:
    """A .keras of two dense layers."""
    shapes = {"dense": [(4, 8), (8,)], "dense_1": [(8, 2), (2,)]}
    arrays = hdf5(
        lambda file: [
            file.create_dataset(f"layers/{name}/vars/{place}", data=np.ones(shape, np.float32))
            for name, both in shapes.items()
            for place, shape in enumerate(both)
        ]
    )
    layers = [layer("Dense", units=shape[1][0], activation="relu", use_bias=True) for shape in shapes.values()]
    for number, made in enumerate(layers):
        made["config"]["name"] = f"d{number}"
    return keras(*layers, arrays=arrays)


def loader() -> bytes:
    return saved(DataLoader(TensorDataset(torch.from_numpy(IMAGES), torch.arange(24) % 3), batch_size=8))


def legacy() -> bytes:
    return saved(tensors(), _use_new_zipfile_serialization=False)


def external() -> bytes:
    model: onnx.ModelProto = good_onnx()
    return zipped_onnx(model)


#: Name -> the part that is spoiled, the file's name, its bytes.
GOOD: Mapping[str, tuple[Part, str, bytes]] = {
    "h5": (Part.MODEL, "m.h5", small()),
    "keras": (Part.MODEL, "m.keras", archive()),
    "onnx": (Part.MODEL, "m.onnx", good_onnx().SerializeToString()),
    "onnx zip": (Part.MODEL, "m.zip", external()),
    "pth": (Part.WEIGHTS, "w.pth", weights()),
    "old pth": (Part.WEIGHTS, "w.pth", legacy()),
    "safetensors": (Part.WEIGHTS, "w.safetensors", save(tensors())),
    "loader": (Part.DATASET, "l.pth", loader()),
    "npz": (Part.DATASET, "x.npz", npz()),
    "npy": (Part.DATASET, "x.npy", npy()),
}


def spoiled(content: bytes, chance: random.Random) -> Iterator[bytes]:
    """The file itself, then copies that are cut off or have bits flipped."""
    yield content
    for number in range(COPIES):
        if number % 2:
            yield content[: chance.randrange(1, len(content))]
            continue
        flipped = bytearray(content)
        for _ in range(chance.choice((1, 2, 8, 64))):
            # The front and the end hold what says how the rest is to be read.
            where = chance.choice((len(content), min(512, len(content))))
            place = chance.randrange(where)
            flipped[place if chance.random() < 0.7 else -1 - place] ^= 1 << chance.randrange(8)
        yield bytes(flipped)


def job(part: Part, name: str, content: bytes) -> tuple[Request, Mapping[str, bytes]]:
    if part is Part.MODEL:
        kind = Framework.ONNX if "onnx" in name or "zip" in name else Framework.KERAS
        return Request(framework=kind, percent=0.5, files={part: name}), {part: content}
    files = {Part.WEIGHTS: ("small.pth", weights()), Part.CLASS_DEF: ("small.py", source()), part: (name, content)}
    request = Request(
        framework=Framework.PYTORCH,
        percent=0.5,
        input_size=(Input(shape=(1, 8, 8)),),
        model_name="Small",
        files={part: name for part, (name, _) in files.items()},
    )
    return request, {part: content for part, (_, content) in files.items()}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, engine.Ended]:
    chance = random.Random(SEED)
    jobs = {
        f"{kind} {number}": job(part, name, copy)
        for kind, (part, name, content) in GOOD.items()
        for number, copy in enumerate(spoiled(content, chance))
    }
    return engine.run(jobs, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", GOOD)
def test_a_spoiled_file_ends_its_job_with_a_known_reason(kind: str, ends: dict[str, engine.Ended]) -> None:
    whole = ends[f"{kind} 0"]
    assert whole.status == 0, whole
    refused = 0
    for number in range(1, COPIES + 1):
        end = ends[f"{kind} {number}"]
        if end.status == 0:  # a bit of a weight is a weight, too
            continue
        assert end.failure is not None, end
        assert end.failure.code != InternalError.code, end
        assert end.status == BY_CODE[end.failure.code].exit_code, end
        assert end.failure.message
        refused += 1
    assert refused >= COPIES // 2, "what is cut off at least can't be read"
