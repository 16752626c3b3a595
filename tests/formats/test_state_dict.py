"""The forms in which people save their weights: all give the same tensors."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from coppice.formats import open_upload
from coppice.formats.pytorch.rewrite import rewrite, state_as_it_came
from coppice.formats.pytorch.state_dict import fit
from coppice.formats.pytorch.weights import read_weights
from coppice.records.plan import Plan
from tests.formats.models import MODELS, NET, built, upload


def state() -> OrderedDict[str, torch.Tensor]:
    found: OrderedDict[str, torch.Tensor] = built(NET, "Net").state_dict()  # type: ignore[assignment]
    return found


def wrapped(**beside: Any) -> dict[str, Any]:
    return {"epoch": 3, "state_dict": state(), "optimizer": {"lr": 0.1, "momentum": torch.zeros(2)}, **beside}


FORMS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "as documented": (state, {}),
    "before torch 1.6": (state, {"_use_new_zipfile_serialization": False}),
    "a plain dict": (lambda: dict(state()), {}),
    "another pickle protocol": (state, {"pickle_protocol": 4}),
    "parameters": (lambda: {key: nn.Parameter(value) for key, value in state().items()}, {}),
    "a checkpoint": (wrapped, {}),
    "a checkpoint with arguments": (lambda: wrapped(args=argparse.Namespace(lr=1)), {}),
    "a checkpoint with a number of numpy": (lambda: wrapped(best=np.float64(0.9), seen=np.int64(3)), {}),
    "DataParallel": (lambda: {f"module.{key}": value for key, value in state().items()}, {}),
    "compiled": (lambda: {f"_orig_mod.{key}": value for key, value in state().items()}, {}),
    "a compiled checkpoint": (
        lambda: {"model": {f"_orig_mod.module.{key}": value for key, value in state().items()}, "epoch": 1},
        {},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_gives_the_same_tensors(form: str, tmp_path: Path) -> None:
    value, options = FORMS[form]
    path = tmp_path / "weights.pth"
    torch.save(value(), path, **options)
    module = built(NET, "Net")
    for tensor in module.state_dict().values():
        tensor.zero_()
    fit(module, read_weights(path, file="weights.pth"))
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in state().items())


def test_a_part_that_the_model_itself_calls_module_keeps_its_name(tmp_path: Path) -> None:
    outer = nn.Module()
    outer.module = built(NET, "Net")
    torch.save(outer.state_dict(), tmp_path / "weights.pth")
    assert fit(outer, read_weights(tmp_path / "weights.pth", file="weights.pth")).is_plain


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "weights.safetensors")
    request, files = upload(tmp_path, MODELS["document"], weights=(tmp_path / "weights.safetensors").read_bytes())
    module = open_upload(request, files).network.module
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in state().items())


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    request, files = upload(
        tmp_path, MODELS["document"], weights={"net": {f"module.{k}": v for k, v in state().items()}}
    )
    notes = " ".join(open_upload(request, files).network.notes)
    assert "'net'" in notes
    assert "'module.'" in notes


def test_a_batch_norm_of_before_its_counters_fits(tmp_path: Path) -> None:
    model = MODELS["frozen"]
    # torch before 0.4.1 had no num_batches_tracked, and no versions in its state dicts.
    old = {key: value for key, value in built(model.source, model.name).state_dict().items() if "tracked" not in key}
    request, files = upload(tmp_path, model, weights=dict(old))
    assert open_upload(request, files).network.module.state_dict()["norm.num_batches_tracked"].item() == 0


def test_weights_of_half_precision_go_into_the_type_of_the_class(tmp_path: Path) -> None:
    torch.save({key: value.half() for key, value in state().items()}, tmp_path / "half.pth")
    module = built(NET, "Net")
    fit(module, read_weights(tmp_path / "half.pth", file="half.pth"))
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_a_state_dict_goes_back_in_the_precision_that_came(kind: torch.dtype, tmp_path: Path) -> None:
    came = {key: value.to(kind) for key, value in state().items()}
    torch.save(came, tmp_path / "weights.pth")
    module = built(NET, "Net")
    fitted = fit(module, read_weights(tmp_path / "weights.pth", file="weights.pth"))
    back = state_as_it_came(module, fitted)
    assert all(torch.equal(back[key].view(torch.uint8), value.view(torch.uint8)) for key, value in came.items())


def test_precision_that_the_class_does_not_hold_is_not_claimed(tmp_path: Path) -> None:
    torch.save({key: value.double() for key, value in state().items()}, tmp_path / "weights.pth")
    assert not fit(built(NET, "Net"), read_weights(tmp_path / "weights.pth", file="weights.pth")).narrow


def test_a_small_expanded_mask_is_honest(tmp_path: Path) -> None:
    torch.save({"mask": torch.ones(1).expand(64, 64)}, tmp_path / "mask.pth")
    assert read_weights(tmp_path / "mask.pth", file="mask.pth").at(())["mask"].sum() == 64 * 64


def notes_of(tmp_path: Path, content: Any, **options: Any) -> tuple[str, ...]:
    torch.save(content, tmp_path / "weights.pth", **options)
    return fit(built(NET, "Net"), read_weights(tmp_path / "weights.pth", file="weights.pth")).notes


def test_of_several_state_dicts_the_one_that_fits_is_taken(tmp_path: Path) -> None:
    (note,) = notes_of(tmp_path, {"model": nn.Linear(3, 3).state_dict(), "backbone": state()})
    assert "'backbone' was taken" in note


def test_the_model_goes_before_its_average(tmp_path: Path) -> None:
    zeros = {key: torch.zeros_like(value) for key, value in state().items()}
    module = built(NET, "Net")
    torch.save({"ema": zeros, "net": state()}, tmp_path / "weights.pth")
    fitted = fit(module, read_weights(tmp_path / "weights.pth", file="weights.pth"))
    assert module.state_dict()["fc2.bias"].any()
    assert "also holds 'ema'" in " ".join(fitted.notes)


def test_an_average_of_other_shapes_is_no_copy(tmp_path: Path) -> None:
    other = {**state(), "fc2.bias": torch.zeros(11)}
    assert "also holds" not in " ".join(notes_of(tmp_path, {"model": state(), "ema": other}))


def test_a_word_that_holds_those_letters_is_no_average(tmp_path: Path) -> None:
    assert "average" not in " ".join(notes_of(tmp_path, {"semantic_net": state()}))


def test_an_average_alone_is_said_to_be_one(tmp_path: Path) -> None:
    assert "called an average" in " ".join(notes_of(tmp_path, {"ema_state_dict": state()}))


def test_a_wrapper_inside_of_the_model_is_passed_over(tmp_path: Path) -> None:
    # DataParallel around a part, as torch's own ImageNet example wraps AlexNet and VGG.
    inside = {key.replace("conv2.", "conv2.module."): value for key, value in state().items()}
    module = built(NET, "Net")
    torch.save(inside, tmp_path / "weights.pth")
    fitted = fit(module, read_weights(tmp_path / "weights.pth", file="weights.pth"))
    assert fitted.keys.names["conv2.module.weight"] == "conv2.weight"
    assert torch.equal(module.state_dict()["conv2.weight"], state()["conv2.weight"])


def test_parts_beside_the_model_are_named(tmp_path: Path) -> None:
    found = notes_of(tmp_path, {**{f"net.{k}": v for k, v in state().items()}, "loss.weight": torch.ones(10)})
    assert "beside the model, and left as it is: loss.weight" in " ".join(found)


def test_a_tensor_stored_under_one_of_its_two_names_is_not_missing(tmp_path: Path) -> None:
    module = built(MODELS["tied"].source, "Tied")
    expected = {key: value.clone() for key, value in module.state_dict().items()}
    # As safetensors are written: of tensors that are one, one.
    save_file({key: value for key, value in expected.items() if key != "second.weight"}, tmp_path / "tied.safetensors")
    for tensor in module.state_dict().values():
        tensor.zero_()
    fit(module, read_weights(tmp_path / "tied.safetensors", file="tied.safetensors"))
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in expected.items())


def on_gpu(content: bytes) -> bytes:
    """The file as a GPU would have written it: a storage's device is a text in the pickle."""

    def text(value: bytes) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value

    assert text(b"cpu") in content
    return content.replace(text(b"cpu"), text(b"cuda:0"))


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_a_gpu_load_without_one(legacy: bool, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state(), buffer, _use_new_zipfile_serialization=not legacy)
    content = buffer.getvalue()
    if not legacy:
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(packed, "w") as after:
            for name in before.namelist():
                member = before.read(name)
                after.writestr(name, on_gpu(member) if name.endswith("data.pkl") else member)
        content = packed.getvalue()
    (tmp_path / "gpu.pth").write_bytes(on_gpu(content) if legacy else content)
    found = read_weights(tmp_path / "gpu.pth", file="gpu.pth").at(())
    assert {value.device.type for value in found.values()} == {"cpu"}
    assert all(torch.equal(found[key], value) for key, value in state().items())


class Options(dict[str, Any]):
    """A configuration object of the user's script."""


def test_objects_that_can_not_be_made_are_left_out_and_named(tmp_path: Path) -> None:
    torch.save(
        {"model": state(), "config": Options(a=1), "when": datetime(2020, 1, 1, tzinfo=UTC)}, tmp_path / "weights.pth"
    )
    module = built(NET, "Net")
    fitted = fit(module, read_weights(tmp_path / "weights.pth", file="weights.pth"))
    lacking = rewrite(fitted, module, Plan(), tmp_path / "out.pth")
    assert lacking == (f"'config', which holds objects of {__name__}.Options",)
    assert torch.load(tmp_path / "out.pth", weights_only=False)["when"] == datetime(2020, 1, 1, tzinfo=UTC)


def test_a_text_of_python_2_is_no_obstacle(tmp_path: Path) -> None:
    # Protocol 2 of Python 2: a str is bytes, and these are no UTF-8.
    buffer = io.BytesIO()
    torch.save({"model": state(), "author": "Jose"}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    assert content.count(b"X\x04\0\0\0Jose") == 1
    (tmp_path / "weights.pth").write_bytes(content.replace(b"X\x04\0\0\0Jose", b"U\x04Jos\xe9"))
    assert read_weights(tmp_path / "weights.pth", file="weights.pth").content["author"] == "José"
