"""Weights come back in the form in which they came: the code that loaded the user's file loads the pruned one.

That code runs in a process that has torch and the class file as pruned, and nothing of ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from coppice import pipeline
from coppice.formats import open_upload
from coppice.records.request import Part
from tests.formats.models import Model, built, upload
from tests.formats.test_torch_results import report

NET = """\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))
"""
MODEL = Model(source=NET, name="Net", input_size=(1, 8, 8), file="net.py")

#: Opens each job's files with the lines of its user, then runs the model.
CLEAN = """
import json, sys
sys.path.append(sys.argv[1])
sys.modules["coppice"] = None
import torch
results = {}
for name, job in json.loads(sys.argv[2]).items():
    sys.path.insert(0, job["folder"])
    sys.modules.pop("net_pruned", None)
    from net_pruned import Net
    sys.path.remove(job["folder"])
    space = {"torch": torch, "Net": Net, "FILE": job["file"], "model": Net(), "says": None, "factor": 1}
    exec(job["code"], space)
    model = space["model"].eval()
    x, y = torch.load(job["expected"])
    y = y * space["factor"]
    with torch.no_grad():
        found = model(x.to(next(model.parameters()).dtype)).float()
    results[name] = {"difference": ((found - y).abs().max() / y.abs().max()).item(), "says": space["says"]}
print(json.dumps(results))
"""

State = OrderedDict[str, torch.Tensor]


def weights() -> State:
    found: State = built(NET, "Net").state_dict()  # type: ignore[assignment]
    return found


def prefixed(prefix: str) -> State:
    return OrderedDict((prefix + key, value) for key, value in weights().items())


def doubled() -> State:
    """Other weights with a simple truth: the head gives twice as much."""
    return OrderedDict((key, value * 2 if "head" in key else value) for key, value in weights().items())


def swa() -> State:
    model = AveragedModel(built(NET, "Net"))
    model.module.load_state_dict(weights())
    found: State = model.state_dict()  # type: ignore[assignment]
    return found


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a user saves, the lines by which they load it, and what these say."""

    saved: Callable[[], Any]
    code: str
    file: str = "net.pth"
    options: dict[str, Any] = field(default_factory=dict)
    says: Any = None
    #: Largest relative difference; that of rounding for all that computes in float32.
    tolerance: float = 1e-5


FORMS = {
    "a checkpoint": Form(
        saved=lambda: {
            "epoch": 3,
            "state_dict": weights(),
            "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(8, 1, 3, 3)}}, "param_groups": [{"lr": 0.1}]},
            "best_acc1": torch.tensor(0.5),
        },
        code="ckpt = torch.load(FILE); model.load_state_dict(ckpt['state_dict']); says = [ckpt['epoch'], sorted(ckpt)]",
        says=[3, ["best_acc1", "epoch", "state_dict"]],
    ),
    "a checkpoint with options": Form(
        saved=lambda: {"model": weights(), "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)},
        code="""ckpt = torch.load(FILE, weights_only=False); model.load_state_dict(ckpt["model"])
says = [ckpt["args"].lr, ckpt["best"]]""",
        says=[0.1, 0.5],
        file="checkpoint.pth.tar",
    ),
    "nested": Form(
        saved=lambda: {"checkpoint": {"model_state_dict": weights()}, "version": "1"},
        code="model.load_state_dict(torch.load(FILE)['checkpoint']['model_state_dict'])",
    ),
    "DataParallel": Form(
        saved=lambda: prefixed("module."),
        code="""model = torch.nn.DataParallel(model); model.load_state_dict(torch.load(FILE)); model = model.module""",
    ),
    "compiled": Form(
        saved=lambda: {"net": prefixed("_orig_mod.")},
        code="model.load_state_dict({k.replace('_orig_mod.', ''): v for k, v in torch.load(FILE)['net'].items()})",
    ),
    "Lightning": Form(
        saved=lambda: {
            "epoch": 1,
            "global_step": 10,
            "pytorch-lightning_version": "2.1.0",
            "state_dict": OrderedDict({**prefixed("model."), "criterion.weight": torch.ones(3)}),
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {},
            "optimizer_states": [{"state": {}, "param_groups": []}],
            "lr_schedulers": [],
            "hyper_parameters": {"lr": 0.1},
        },
        code="""
class Lit(torch.nn.Module):
    def __init__(self, lr):
        super().__init__()
        self.model, self.criterion = Net(), torch.nn.CrossEntropyLoss(weight=torch.zeros(3))
ckpt = torch.load(FILE)
lit = Lit(**ckpt["hyper_parameters"])
lit.load_state_dict(ckpt["state_dict"])
model, says = lit.model, lit.criterion.weight.tolist()""",
        file="epoch=1-step=10.ckpt",
        says=[1, 1, 1],
    ),
    "an average beside": Form(
        saved=lambda: {"state_dict": weights(), "state_dict_ema": doubled(), "arch": "net"},
        code="""model.load_state_dict(torch.load(FILE)["state_dict"])
average = Net().eval(); average.load_state_dict(torch.load(FILE)["state_dict_ema"])
x = torch.ones(1, 1, 8, 8); says = round((average(x) / model.eval()(x)).mean().item(), 4)""",
        says=2,
    ),
    "an average in the same state dict": Form(
        saved=lambda: OrderedDict({**prefixed("model."), **{f"model_ema.{k}": v for k, v in doubled().items()}}),
        code="""state = torch.load(FILE)
model.load_state_dict({k.removeprefix("model_ema."): v for k, v in state.items() if k.startswith("model_ema.")})
factor = 2""",
    ),
    "only an average": Form(
        saved=lambda: {"params_ema": weights()}, code="model.load_state_dict(torch.load(FILE)['params_ema'])"
    ),
    "AveragedModel": Form(
        saved=swa,
        code="""swa = torch.optim.swa_utils.AveragedModel(model); swa.load_state_dict(torch.load(FILE))
model, says = swa.module, int(swa.n_averaged)""",
        says=0,
    ),
    "one of several models": Form(
        saved=lambda: {"netG": nn.Linear(5, 4).state_dict(), "netD": weights()},
        code="""model.load_state_dict(torch.load(FILE)["netD"])
torch.nn.Linear(5, 4).load_state_dict(torch.load(FILE)["netG"])""",
    ),
    "one of a list": Form(
        saved=lambda: [nn.Linear(5, 4).state_dict(), weights(), 3],
        code="""first, second, says = torch.load(FILE)
model.load_state_dict(second)
torch.nn.Linear(5, 4).load_state_dict(first)""",
        says=3,
    ),
    "a remark among the tensors": Form(
        saved=lambda: OrderedDict({**weights(), "epoch": 3}),
        code="state = torch.load(FILE); says = state.pop('epoch'); model.load_state_dict(state)",
        says=3,
    ),
    "arrays of numpy": Form(
        saved=lambda: {"model": {key: value.numpy() for key, value in weights().items()}},
        code="""state = torch.load(FILE, weights_only=False)["model"]
model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})""",
    ),
    "an average in a list": Form(  # as pytorch_ema keeps it
        saved=lambda: {
            "model": weights(),
            "ema": {"decay": 0.9, "shadow_params": [v for k, v in doubled().items() if k.endswith(("weight", "bias"))]},
        },
        code="""ckpt = torch.load(FILE); model.load_state_dict(ckpt["model"])
for parameter, average in zip(model.parameters(), ckpt["ema"]["shadow_params"], strict=True):
    parameter.data.copy_(average)
factor = 2""",
    ),
    "another protocol": Form(
        saved=lambda: {"model": weights()},
        options={"pickle_protocol": 4},
        code="model.load_state_dict(torch.load(FILE, weights_only=False)['model'])",
    ),
    "before torch 1.6": Form(
        saved=weights,
        options={"_use_new_zipfile_serialization": False},
        code="""model.load_state_dict(torch.load(FILE)); says = open(FILE, "rb").read(2).hex()""",
        says="8002",
    ),
    "half precision": Form(
        saved=lambda: {"model": {k: v.half() if v.is_floating_point() else v for k, v in weights().items()}},
        code="""state = torch.load(FILE)["model"]; model.load_state_dict(state)
says = sorted({str(v.dtype) for v in state.values()})""",
        says=["torch.float16", "torch.int64"],
    ),
    "half precision, run so": Form(
        saved=lambda: {"model": {k: v.half() if v.is_floating_point() else v for k, v in weights().items()}},
        code="model = model.half(); model.load_state_dict(torch.load(FILE)['model'])",
        tolerance=1e-2,
    ),
    "safetensors": Form(
        saved=lambda: safetensors.torch.save(
            {key: value.bfloat16() if value.is_floating_point() else value for key, value in weights().items()},
            {"format": "pt", "author": "me"},
        ),
        file="net.safetensors",
        code="""
import safetensors.torch
state = safetensors.torch.load_file(FILE); model.load_state_dict(state)
with safetensors.safe_open(FILE, "pt") as opened:
    says = [opened.metadata(), str(state["conv.weight"].dtype)]""",
        says=[{"format": "pt", "author": "me"}, "torch.bfloat16"],
    ),
}

#: A form of each format, which the job's own check opens as well; every check is a process.
RELOADED = ("a checkpoint with options", "arrays of numpy", "before torch 1.6", "safetensors")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    jobs = {}
    for name, form in FORMS.items():
        folder = tmp_path_factory.mktemp("job")
        content = form.saved()
        if not isinstance(content, bytes):
            torch.save(content, folder / "saved", **form.options)
            content = (folder / "saved").read_bytes()
        request, files = upload(folder, MODEL, weights=content)
        request = request.model_copy(update={"files": {**request.files, Part.WEIGHTS: form.file}})
        source = open_upload(request, files)
        pruned = pipeline.prune(source.network, request, lambda _: None)
        out = folder / "out"
        out.mkdir()
        artifacts = source.write(pruned.module, pruned.plan, report(request), out)
        if name in RELOADED:
            source.reload(pruned.module, artifacts, out)
        with torch.no_grad():
            torch.save((source.network.inputs[0], pruned.module(*source.network.inputs)), folder / "expected.pt")
        (file,) = (artifact.file for artifact in artifacts if artifact.name == "weights")
        jobs[name] = {
            "folder": str(out),
            "file": str(out / file),
            "code": form.code,
            "expected": str(folder / "expected.pt"),
        }
    command = [sys.executable, "-I", "-S", "-c", CLEAN, sysconfig.get_path("purelib"), json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_the_users_own_lines_load_the_pruned_weights(name: str, clean: dict[str, Any]) -> None:
    assert clean[name]["difference"] < FORMS[name].tolerance
    assert clean[name]["says"] == FORMS[name].says
