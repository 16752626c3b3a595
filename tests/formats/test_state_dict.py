"""The forms in which people save their weights: all give the same tensors."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from coppice.formats import open_upload
from coppice.formats.pytorch.state_dict import fit
from coppice.formats.pytorch.weights import read_weights
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


def test_a_small_expanded_mask_is_honest(tmp_path: Path) -> None:
    torch.save({"mask": torch.ones(1).expand(64, 64)}, tmp_path / "mask.pth")
    assert read_weights(tmp_path / "mask.pth", file="mask.pth").at(())["mask"].sum() == 64 * 64
