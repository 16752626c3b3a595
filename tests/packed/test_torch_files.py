"""Packed PyTorch models: what is in the file, by hand, and what torch alone makes of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from coppice import pipeline
from coppice.errors import BadUpload, PrecisionImpossible, ReloadFailed
from coppice.formats.packed import file as packed
from coppice.formats.packed.torch_files import write
from coppice.formats.quantized import Quantizing, Written
from coppice.quant.packing import pack
from coppice.records.plan import Plan
from coppice.records.quantization import Activations, Format, Precision
from coppice.records.report import Arithmetic
from tests.formats.models import FROZEN, MODELS, Model, upload
from tests.packed.by_hand import BITS, HALVES, opened, task
from tests.packed.bytes_by_hand import ByHand
from tests.packed.elsewhere import run

FROZEN_MODEL = MODELS["frozen"]

LOAD = """
    import importlib, json, torch
    module, file, out = sys.argv[2:5]
    model = importlib.import_module(module).load_quantized(file)
    torch.save({key: value.clone() for key, value in model.state_dict().items()}, out)
    print(json.dumps([type(model).__name__, model.training, str(next(model.parameters()).dtype)]))
"""


def given(tmp_path: Path, model: Model, precision: str, **options: Any) -> Quantizing:
    request, files = upload(tmp_path, model, **options.pop("asked", {}))
    return task(opened(request, files), precision, **options)


def written(quantizing: Quantizing, tmp_path: Path) -> tuple[Written, Path, Path]:
    out = tmp_path / "out"
    out.mkdir()
    done = write(quantizing, out)
    file, class_file = (out / artifact.file for artifact in done.artifacts)
    return done, file, class_file


def elsewhere(file: Path, class_file: Path, tmp_path: Path) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """The state dict, class, mode and type of what torch alone loads."""
    said = run(LOAD, class_file.parent, class_file.stem, file, tmp_path / "state.pt")
    return torch.load(tmp_path / "state.pt", weights_only=True), json.loads(said)


def test_the_bytes_of_a_packed_file_are_those_of_its_bits(tmp_path: Path) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, "int4", samples=torch.rand(20, 1, 8, 8))
    done, file, class_file = written(quantizing, tmp_path)
    by_hand, state = ByHand(file), quantizing.model.module.state_dict()
    for name in ("stem.weight", "body.0.weight", "head.weight"):
        assert len(by_hand.bytes_of(name)) == math.ceil(state[name].numel() / 2)
        assert np.array_equal(by_hand.value(name), state[name].numpy())
    plain = state.keys() - by_hand.about["packed"].keys()
    assert plain == {name for name in state if state[name].dim() < 2}
    assert all(np.array_equal(by_hand.array(name), state[name].numpy()) for name in plain)
    assert done.bytes_by_type["int4"] == (108 + 1728 + 64) / 2
    assert sum(done.bytes_by_type.values()) == len(by_hand.content)
    assert done.arithmetic is Arithmetic.FLOAT
    assert done.operators == {"convolution": 2, "addmm": 1}
    assert done.latencies is None
    with torch.no_grad():
        assert done.outputs is not None
        assert torch.allclose(done.outputs[0], quantizing.model.module(torch.cat(rows(quantizing))), atol=1e-6)
    loaded, (name, training, kind) = elsewhere(file, class_file, tmp_path)
    assert (name, training, kind) == ("Frozen", False, "torch.float32")
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def rows(quantizing: Quantizing) -> list[torch.Tensor]:
    assert quantizing.held_out is not None
    return list(quantizing.held_out.inputs)


@pytest.mark.slow
def test_what_is_loaded_can_be_trained_again(tmp_path: Path) -> None:
    _, file, class_file = written(given(tmp_path, FROZEN_MODEL, "int2"), tmp_path)
    program = """
        import importlib, torch
        module, file = sys.argv[2:4]
        model = importlib.import_module(module).load_quantized(file).train()
        before = model.head.weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        model(torch.rand(4, 1, 8, 8)).square().sum().backward()
        optimizer.step()
        print(torch.equal(before, model.head.weight), model.stem.weight.grad is None)
    """
    # The user's class freezes its stem; so does what is loaded.
    assert run(program, class_file.parent, class_file.stem, file).split() == ["False", "True"]


@pytest.mark.slow
def test_a_model_of_the_users_own_making_can_be_filled(tmp_path: Path) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, "int1")
    _, file, class_file = written(quantizing, tmp_path)
    program = """
        import importlib, torch
        module, file = sys.argv[2:4]
        classes = importlib.import_module(module)
        mine = classes.Frozen()
        print(classes.load_quantized(file, mine) is mine, mine.head.weight.unique().numel())
    """
    same, values = run(program, class_file.parent, class_file.stem, file).split()
    assert same == "True"
    assert int(values) == len(set(quantizing.model.module.state_dict()["head.weight"].flatten().tolist()))
    assert int(values) <= 2 * 4


@pytest.mark.parametrize("half", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_half_model_computes_in_halves(tmp_path: Path, half: str) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, half, activations=Activations(half), samples=torch.rand(12, 1, 8, 8))
    done, file, class_file = written(quantizing, tmp_path)
    kinds = {entry["dtype"] for entry in ByHand(file).header.values()}
    assert kinds == {"F16" if half == "float16" else "BF16", "I64"}
    assert done.latencies is not None
    assert done.outputs is not None
    assert done.outputs[0].shape == (12, 4)
    loaded, (_, _, kind) = elsewhere(file, class_file, tmp_path)
    assert kind == f"torch.{half}"
    expected = quantizing.dense.state_dict()
    floats = [name for name in expected if expected[name].is_floating_point()]
    assert all(torch.equal(loaded[name], expected[name].to(HALVES[half])) for name in floats)


@pytest.mark.slow
def test_halves_may_be_kept_and_floats_computed_with(tmp_path: Path) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, "float16")
    done, file, class_file = written(quantizing, tmp_path)
    assert done.bytes_by_type["float16"] == 2 * (108 + 1728 + 64)
    loaded, (_, _, kind) = elsewhere(file, class_file, tmp_path)
    assert kind == "torch.float32"
    assert all(torch.equal(loaded[key], value) for key, value in quantizing.model.module.state_dict().items())


#: Tied tensors, functions as constructors, arguments, tensors that no state dict holds, weights that are computed.
STRANGE = {
    "tied": MODELS["tied"],
    "factory": MODELS["factory"],
    "hidden buffer": MODELS["hidden buffer"],
    "plain tensor": MODELS["plain tensor"],
    "normed": MODELS["normed"],
    "double": MODELS["double"],
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("model", STRANGE)
def test_every_kind_of_model_comes_back_bit_for_bit(tmp_path: Path, model: str, precision: str) -> None:
    quantizing = given(tmp_path, STRANGE[model], precision)
    _, file, class_file = written(quantizing, tmp_path)
    state = quantizing.model.module.state_dict()
    loaded, _ = elsewhere(file, class_file, tmp_path)
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[key], state[key]) and loaded[key].dtype is state[key].dtype for key in state)


@pytest.mark.slow
def test_the_class_is_built_with_the_arguments_of_the_request(tmp_path: Path) -> None:
    model = Model(source=MODELS["factory"].source, name="VGG", input_size=(1, 16, 16), file="vgg.py")
    arguments = {"widths": [4, 6], "classes": 3}
    namespace: dict[str, Any] = {}
    exec(model.source, namespace)
    asked = {"model_args": arguments, "weights": namespace["VGG"](**arguments).state_dict()}
    quantizing = given(tmp_path, model, "int4", asked=asked)
    _, file, class_file = written(quantizing, tmp_path)
    loaded, (name, _, _) = elsewhere(file, class_file, tmp_path)
    assert name == "VGG"
    assert loaded["classifier.weight"].shape == (3, 6)
    assert class_file.read_text().index("load_quantized") < class_file.read_text().index('if __name__ == "__main__"')


@pytest.mark.slow
def test_a_pruned_model_is_quantized_and_loads_by_its_class_file_alone(tmp_path: Path) -> None:
    request, files = upload(
        tmp_path, FROZEN_MODEL, percent=0.5, precision=Precision.INT4, output_format=Format.SAFETENSORS
    )
    out = tmp_path / "out"
    out.mkdir()
    report = pipeline.run(request, files, out, lambda _: None)
    by_name = {artifact.name: out / artifact.file for artifact in report.artifacts}
    pruned = torch.load(by_name["state_dict"], weights_only=True)
    loaded, _ = elsewhere(by_name["quantized"], by_name["quantized_class_def"], tmp_path)
    assert {key: value.shape for key, value in loaded.items()} == {key: value.shape for key, value in pruned.items()}
    assert loaded["body.0.weight"].shape == (8, 6, 3, 3)
    assert not torch.equal(loaded["body.0.weight"], pruned["body.0.weight"])
    apart = (loaded["body.0.weight"] - pruned["body.0.weight"]).abs().amax((1, 2, 3))
    assert bool((apart <= pruned["body.0.weight"].abs().amax((1, 2, 3)) / 7).all())


def test_a_file_that_does_not_come_back_is_not_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, "int4")
    monkeypatch.setattr(packed, "pack", lambda codes, bits: pack(codes, bits)[::-1].copy())
    with pytest.raises(ReloadFailed, match="was not restored"):
        written(quantizing, tmp_path)


EXTRA = f"""{FROZEN}
    def get_extra_state(self):
        return {{"seen": 3}}

    def set_extra_state(self, state):
        pass
"""
WIDE = FROZEN.replace(
    "self.norm.eval()",
    "self.norm.eval(); import torch; self.register_buffer('turns', torch.ones(2, dtype=torch.complex128))",
)


@pytest.mark.parametrize(
    ("source", "says"),
    [(EXTRA, "_extra_state of the state dict is a dict"), (WIDE, "holds no complex128, which turns is")],
)
def test_what_the_format_does_not_hold_is_refused_by_name(tmp_path: Path, source: str, says: str) -> None:
    model = Model(source=source, name="Frozen", input_size=(1, 8, 8), file="frozen.py")
    weights = nn.Module.state_dict(_built(source))
    with pytest.raises(PrecisionImpossible, match=says):
        written(given(tmp_path, model, "int4", asked={"weights": weights}), tmp_path)


def _built(source: str) -> nn.Module:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    model: nn.Module = namespace["Frozen"]()
    return model


#: The first model that it builds is another than the next.
FICKLE = FROZEN.replace("self.width = 12", "self.width = 12; Frozen.times = getattr(Frozen, 'times', 0) + 1").replace(
    "nn.Linear(16, 4)", "nn.Linear(16, 4 if Frozen.times == 1 else 5)"
)


def test_a_shape_that_no_class_file_can_say_is_refused(tmp_path: Path) -> None:
    model = Model(source=FICKLE, name="Frozen", input_size=(1, 8, 8), file="frozen.py")
    plan = Plan(kept={"stem.weight": {0: (0, 1)}})
    quantizing = given(tmp_path, model, "int4", asked={"weights": _built(FICKLE).state_dict()}, plan=plan)
    with pytest.raises(PrecisionImpossible, match="makes other tensors each time"):
        written(quantizing, tmp_path)


def test_a_packed_file_is_no_file_of_weights(tmp_path: Path) -> None:
    quantizing = given(tmp_path, FROZEN_MODEL, "int8")
    file = tmp_path / "packed.safetensors"
    state = quantizing.dense.state_dict()
    packed.write(packed.Content(tensors=state, coded=quantizing.model.coded), file)
    with pytest.raises(BadUpload, match="quantized already: its tensors are packed"):
        given(tmp_path, FROZEN_MODEL, "int8", asked={"weights": file.read_bytes()})
