"""What a PyTorch user downloads loads where there is torch and the user's own file, and nothing of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from coppice import pipeline
from coppice.errors import ReloadFailed
from coppice.formats import open_upload
from coppice.formats.source import Source
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Check, Cost, Report, Verification
from coppice.records.request import Part, Request
from tests.formats.models import MODELS, NET, REGULARIZED, Model, built, upload

COST = Cost(parameters=1, bytes=4, macs=1)

#: Run by a Python without site: the .pth file that makes an installed coppice importable is not read there.
CLEAN = """
import json, sys
packages, jobs = sys.argv[1], json.loads(sys.argv[2])
sys.path.append(packages)
try:
    import coppice
except ImportError:
    pass
else:
    raise SystemExit("coppice can be imported here, so this proves nothing")
import torch

def told(model, expected):
    inputs, outputs = torch.load(expected)
    model.eval()
    with torch.no_grad():
        found = model(*inputs)
    found = found["scores"] if isinstance(found, dict) else found
    return {
        "difference": (found - outputs).abs().max().item() / outputs.abs().max().item(),
        "shapes": {key: list(value.shape) for key, value in model.state_dict().items()},
        "flags": [p.requires_grad for p in model.parameters()],
    }

results = {}
for name, job in jobs.items():
    sys.path.insert(0, job["folder"])
    result = results[name] = {}
    if job["pair"]:
        model, info = torch.load(job["model"], weights_only=False)
        result["class"] = [type(model).__module__, type(model).__name__]
        result["training"] = [part.training for part in model.modules()]
        result["info"] = info
        result["pair"] = told(model, job["expected"])
    model = getattr(__import__(job["class_def"]), job["name"])()
    result["fresh"] = [type(model).__name__, model.training]
    model.load_state_dict(torch.load(job["state_dict"]))
    result["rebuilt"] = told(model, job["expected"])
    sys.path.remove(job["folder"])
print(json.dumps(results))
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One model pruned and written, and what the clean process says of its files."""

    model: Model
    source: Source
    pruned: nn.Module
    artifacts: Mapping[str, Path]
    clean: Mapping[str, Any]


def report(request: Request) -> Report:
    return Report(
        coppice="0",
        request=request,
        verification=Verification(check=Check.NONE),
        before=COST,
        after=COST,
        summary="the table",
    )


def written(folder: Path, model: Model) -> tuple[Source, nn.Module, tuple[Artifact, ...]]:
    request, files = upload(folder, model)
    source = open_upload(request, files)
    pruned = pipeline.prune(source.network, request, lambda _: None)
    (folder / "out").mkdir()
    return source, pruned.module, source.write(pruned.module, pruned.plan, report(request), folder / "out")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    made, jobs = {}, {}
    for name, model in MODELS.items():
        folder = tmp_path_factory.mktemp("job")
        source, pruned, artifacts = written(folder, model)
        paths = {artifact.name: folder / "out" / artifact.file for artifact in artifacts}
        with torch.no_grad():
            outputs = pruned(*source.network.inputs)
        outputs = outputs["scores"] if isinstance(outputs, dict) else outputs
        torch.save((source.network.inputs, outputs), folder / "expected.pt")
        # What the user has: their own file, and beside it the downloads.
        users = folder / "user"
        users.mkdir()
        module = model.file.removesuffix(".py").replace(".", "_")
        (users / f"{module}.py").write_text(model.source)
        shutil.copy(paths["class_def"], users)
        jobs[name] = {
            "folder": str(users),
            "pair": name != "lambda",
            "model": str(paths["model"]),
            "state_dict": str(paths["state_dict"]),
            "class_def": paths["class_def"].stem,
            "name": model.name,
            "expected": str(folder / "expected.pt"),
        }
        made[name] = (model, source, pruned, paths)
    packages = sysconfig.get_path("purelib")
    command = [sys.executable, "-I", "-S", "-c", CLEAN, packages, json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    clean = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Outcome(model=model, source=source, pruned=pruned, artifacts=paths, clean=clean[name])
        for name, (model, source, pruned, paths) in made.items()
    }


def slow_group(test: Callable[..., None]) -> Callable[..., None]:
    """The results take seconds to make, so one process makes them for all."""
    return pytest.mark.slow(test)  # type: ignore[no-any-return]


each_model = pytest.mark.parametrize("name", MODELS)
each_pickled = pytest.mark.parametrize("name", [name for name in MODELS if name != "lambda"])


@slow_group
@each_pickled
def test_the_pair_loads_with_the_users_file_alone(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    expected_class = "VGG" if name == "factory" else outcome.model.name
    module = outcome.model.file.removesuffix(".py").replace(".", "_")
    assert outcome.clean["class"] == [module, expected_class]
    assert outcome.clean["pair"]["difference"] < 1e-6
    assert outcome.clean["info"]["summary"] == "the table"


@slow_group
@each_model
def test_the_class_file_as_pruned_takes_the_state_dict(name: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[name].clean["rebuilt"]["difference"] < 1e-6


@slow_group
@each_model
def test_every_file_holds_the_pruned_sizes(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    shapes = {key: list(value.shape) for key, value in outcome.pruned.state_dict().items()}
    assert shapes != {key: list(value.shape) for key, value in outcome.source.network.module.state_dict().items()}
    assert outcome.clean["rebuilt"]["shapes"] == shapes
    stored = torch.load(outcome.artifacts["state_dict"], weights_only=True)
    assert {key: list(value.shape) for key, value in stored.items()} == shapes


@slow_group
@each_pickled
def test_flags_and_modes_come_back_as_the_constructor_set_them(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    fresh = built(outcome.model.source, outcome.model.name)
    assert outcome.clean["training"] == [part.training for part in fresh.modules()]
    assert outcome.clean["pair"]["flags"] == [parameter.requires_grad for parameter in fresh.parameters()]
    assert outcome.clean["rebuilt"]["flags"] == outcome.clean["pair"]["flags"]


@slow_group
def test_numbers_keep_their_type(outcomes: dict[str, Outcome]) -> None:
    stored = torch.load(outcomes["double"].artifacts["state_dict"], weights_only=True)
    assert {value.dtype for value in stored.values()} == {torch.float64}


def test_counters_of_batch_norm_stay(tmp_path: Path) -> None:
    model = MODELS["frozen"]
    state = built(model.source, model.name).state_dict()
    state["norm.num_batches_tracked"].fill_(12_345)
    request, files = upload(tmp_path, model, weights=state)
    source = open_upload(request, files)
    pruned = pipeline.prune(source.network, request, lambda _: None)
    assert pruned.module.state_dict()["norm.num_batches_tracked"].item() == 12_345


@slow_group
def test_a_shared_tensor_stays_shared(outcomes: dict[str, Outcome]) -> None:
    stored = torch.load(outcomes["tied"].artifacts["state_dict"], weights_only=True)
    assert stored["first.weight"].data_ptr() == stored["second.weight"].data_ptr()


@slow_group
def test_a_model_that_does_not_pickle_still_has_a_default_download(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["lambda"]
    (note,) = outcome.source.notes
    assert "lambda" in note
    stored = torch.load(outcome.artifacts["model"], weights_only=True)
    assert stored.keys() == outcome.pruned.state_dict().keys()


@slow_group
def test_a_main_part_meets_the_pruned_class(outcomes: dict[str, Outcome]) -> None:
    path = outcomes["factory"].artifacts["class_def"]
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, timeout=60)
    assert "Conv2d(1, 4" in done.stdout
    assert "Conv2d(1, 8" not in done.stdout


@slow_group
def test_a_subclass_of_the_class_as_pruned_cuts_nothing(outcomes: dict[str, Outcome]) -> None:
    namespace: dict[str, Any] = {"__name__": "model_pruned"}
    text = outcomes["document"].artifacts["class_def"].read_text()
    exec(text + "\nclass Wider(Net): pass\n", namespace)
    assert namespace["Net"]().conv1.out_channels == 16
    assert namespace["Wider"]().conv1.out_channels == 32


@pytest.mark.slow
def test_onnx_of_a_loss_beside_the_outputs(tmp_path: Path) -> None:
    model = Model(source=REGULARIZED, name="Scaled", input_size=(1, 8, 8))
    _, pruned, artifacts = written(tmp_path, model)
    path = tmp_path / "out" / next(artifact.file for artifact in artifacts if artifact.name == "onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.randn(5, 1, 8, 8)
    scores, loss = session.run(None, {"input": x.numpy()})
    assert float(loss) == pytest.approx(float((scores**2).mean()), rel=1e-4)
    torch.testing.assert_close(torch.from_numpy(scores), pruned(x)[0].detach(), rtol=1e-4, atol=1e-5)


@slow_group
@each_model
def test_the_onnx_file_gives_the_same_outputs_for_any_batch(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    session = onnxruntime.InferenceSession(str(outcome.artifacts["onnx"]), providers=["CPUExecutionProvider"])
    (given,) = outcome.source.network.inputs
    batch = torch.cat([given, given, given])[:5]
    (found,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    with torch.no_grad():
        expected = outcome.pruned(batch)
    expected = expected["scores"] if isinstance(expected, dict) else expected
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["model", "state_dict", "class_def"])
def test_a_result_that_differs_is_not_returned(damaged: str, tmp_path: Path) -> None:
    source, pruned, artifacts = written(tmp_path, MODELS["hidden buffer"])
    path = tmp_path / "out" / next(artifact.file for artifact in artifacts if artifact.name == damaged)
    if damaged == "class_def":
        path.write_text(path.read_text().replace("'scale': {0: (", "'scale': {0: (0, "))
    else:
        found = torch.load(path, weights_only=False)
        state = found[0].state_dict() if damaged == "model" else found
        state["head.weight"][0] += 1
        torch.save(found, path)
    with pytest.raises(ReloadFailed, match="model: " if damaged == "model" else "class_def: "):
        source.reload(pruned, artifacts, tmp_path / "out")


@pytest.mark.slow
def test_a_result_that_needs_coppice_is_not_returned(tmp_path: Path) -> None:
    source, pruned, artifacts = written(tmp_path, MODELS["hidden buffer"])
    path = tmp_path / "out" / artifacts[0].file
    model, info = torch.load(path, weights_only=False)
    model.helper = pipeline.prune
    torch.save((model, info), path)
    with pytest.raises(ReloadFailed, match="coppice"):
        source.reload(pruned, artifacts, tmp_path / "out")


@pytest.mark.parametrize(
    "flat", ["torch.from_numpy(x.detach().numpy()).flatten(1)", "torch.fft.fft2(x).real.flatten(1)"]
)
def test_a_model_that_can_not_be_exported_says_so(tmp_path: Path, flat: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = NET.replace("torch.flatten(x, 1)", flat)
    request, files = upload(tmp_path, Model(source=text, name="Net", input_size=(1, 28, 28)), omit=("fc1", "fc2"))
    source = open_upload(request, files)
    (tmp_path / "out").mkdir()
    module = source.network.module
    artifacts = source.write(module, Plan(), report(request), tmp_path / "out")
    assert [artifact.name for artifact in artifacts] == ["model", "state_dict", "class_def"]
    assert [note.partition(":")[0] for note in source.notes] == ["No ONNX file"]
    assert not list((tmp_path / "out").glob("*.onnx"))
    # Where `--json` has its document.
    assert capfd.readouterr().out == ""


def test_a_name_that_is_not_ascii_survives_in_the_class_file(tmp_path: Path) -> None:
    text = "# coding: latin-1\n" + MODELS["hidden buffer"].source.replace("Scaled", "Réseau")
    folder = tmp_path / "in" / "class_def"
    request, files = upload(tmp_path, Model(source=text, name="Réseau", input_size=(1, 8, 8)))
    (folder / "model.py").write_bytes(text.encode("latin-1"))
    source = open_upload(request, files)
    pruned = pipeline.prune(source.network, request, lambda _: None)
    (tmp_path / "out").mkdir()
    artifacts = source.write(pruned.module, pruned.plan, report(request), tmp_path / "out")
    namespace: dict[str, Any] = {"__name__": "model_pruned"}
    path = tmp_path / "out" / next(artifact.file for artifact in artifacts if artifact.name == "class_def")
    exec(compile(path.read_bytes(), str(path), "exec"), namespace)
    assert namespace["Réseau"]().conv.out_channels == 4


LAZY_SIZES = {"first.weight": (16, 5), "first.bias": (16,), "second.weight": (3, 16), "second.bias": (3,)}
LAZY = """
from torch import nn

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LazyLinear(16), nn.Linear(16, 3)

    def forward(self, x):
        return self.second(self.first(x).relu())
"""


def test_a_constructor_without_sizes_costs_only_the_class_file(tmp_path: Path) -> None:
    weights = {name: torch.rand(sizes) for name, sizes in LAZY_SIZES.items()}
    request, files = upload(tmp_path, Model(source=LAZY, name="Lazy", input_size=(5,)), weights=weights)
    source = open_upload(request, files)
    pruned = pipeline.prune(source.network, request, lambda _: None)
    (tmp_path / "out").mkdir()
    artifacts = source.write(pruned.module, pruned.plan, report(request), tmp_path / "out")
    assert [artifact.name for artifact in artifacts] == ["model", "state_dict", "onnx"]
    assert "lazy" in " ".join(source.notes)
    model, _ = torch.load(tmp_path / "out" / artifacts[0].file, weights_only=False)
    assert model.first.weight.shape == (8, 5)


def test_the_layers_of_the_document_are_named_in_order(tmp_path: Path) -> None:
    request, files = upload(tmp_path, MODELS["document"])
    layers = open_upload(request, files).network.layers
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("conv1", "Conv2d"),
        ("conv2", "Conv2d"),
        ("dropout1", "Dropout"),
        ("dropout2", "Dropout"),
        ("fc1", "Linear"),
        ("fc2", "Linear"),
    ]


@pytest.mark.slow
def test_a_result_reloads_and_what_its_class_file_prints_is_not_heard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = Model(source="print('loud')\n" + NET, name="Net", input_size=(1, 28, 28), omit=("fc1", "fc2"))
    source, pruned, artifacts = written(tmp_path, model)
    capfd.readouterr()
    source.reload(pruned, artifacts, tmp_path / "out")
    assert capfd.readouterr().out == ""


def test_parts_are_told_apart_by_their_user_names(tmp_path: Path) -> None:
    request, files = upload(tmp_path, MODELS["document"])
    request = request.model_copy(update={"files": {**request.files, Part.WEIGHTS: "mnist cnn (1).pth"}})
    source = open_upload(request, files)
    (tmp_path / "out").mkdir()
    artifacts = source.write(source.network.module, Plan(), report(request), tmp_path / "out")
    assert artifacts[0].file == "mnist_cnn__1__pruned.pt"
