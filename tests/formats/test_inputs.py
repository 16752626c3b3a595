"""Inputs and constructor arguments as they are written: what reaches the model, and what comes back of it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import coppice
from coppice import pipeline
from coppice.errors import InputSizeInvalid, ParameterInvalid
from coppice.formats import open_upload
from coppice.formats.pytorch.named_inputs import forget_names, give_by_name, names_of
from coppice.records.inputs import Input, parse_input_size, parse_model_args
from coppice.records.request import Part, Request
from tests.formats.models import Model, upload

#: As transformers are called: by keyword, options in between.
WORDS = """\
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self, rows=50, width=16):
        super().__init__()
        self.table, self.inner, self.out = nn.Embedding(rows, width), nn.Linear(width, 12), nn.Linear(12, 3)

    def forward(self, input_ids, positions=None, attention_mask=None, labels=None):
        assert positions is None
        found = self.out(torch.relu(self.inner(self.table(input_ids))))
        if attention_mask is not None:
            found = found * attention_mask.unsqueeze(-1)
        if labels is not None:
            return nn.functional.cross_entropy(found.mean(1), labels)
        return {"scores": found.sum(1)}
"""

#: A picture, a table, and a number for each sample, as diffusion models have their time.
THREE = """\
import torch
from torch import nn

class Three(nn.Module):
    def __init__(self):
        super().__init__()
        self.picture, self.row, self.time = nn.Conv2d(3, 10, 3), nn.Linear(5, 10), nn.Embedding(1000, 10)
        self.out = nn.Linear(10, 2)

    def forward(self, picture, row, t):
        return self.out(torch.relu(self.picture(picture).mean((2, 3)) + self.row(row) + self.time(t)))
"""

GIVEN = """\
from torch import nn

class Given(nn.Module):
    def __init__(self, classes, widths=(4,), *, bias):
        super().__init__()
        self.first = nn.Linear(6, widths[0], bias=bias)
        self.second = nn.Linear(widths[0], classes)

    def forward(self, x):
        return self.second(self.first(x).relu())

def given(classes, width):
    return Given(classes, [width], bias=True)
"""


def model(source: str, name: str, **arguments: Any) -> nn.Module:
    namespace: dict[str, Any] = {"__name__": "user"}
    exec(source, namespace)
    torch.manual_seed(2)
    made: nn.Module = namespace[name](**arguments)
    return made


def asked(folder: Path, source: str, name: str, **changes: Any) -> tuple[Request, dict[Part, Path]]:
    arguments = changes.get("model_args", {})
    weights = model(source, name, **arguments).state_dict()
    written = Model(source=source, name=name, input_size=(1,), file=f"{name.lower()}.py")
    return upload(folder, written, weights=weights, **changes)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("1,28,28", (Input(shape=(1, 28, 28)),)),
        ("3,224,224;1,10", (Input(shape=(3, 224, 224)), Input(shape=(1, 10)))),
        ("128:int64<30522", (Input(shape=(128,), dtype="int64", below=30522),)),
        (
            " 128 < 9 ; (3, 4) : half ",
            (Input(shape=(128,), dtype="int64", below=9), Input(shape=(3, 4), dtype="float16")),
        ),
        ("5;mask=5:bool", (Input(shape=(5,)), Input(shape=(5,), dtype="bool", name="mask"))),
        ("():long<1000", (Input(shape=(), dtype="int64", below=1000),)),
    ],
)
def test_inputs_are_read_and_written_alike(text: str, inputs: tuple[Input, ...]) -> None:
    assert parse_input_size(text) == inputs
    assert parse_input_size(";".join(map(str, inputs))) == inputs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3,8;", "'' is not an input"),
        ("3:int65", "'int65' is no type"),
        ("3:float32<4", "whole numbers"),
        ("3<0", "at least 1"),
        ("a=3;4", "come first"),
        ("a=3;a=4", "twice"),
        ("a=b=3", "not an input"),
        (";".join(["1"] * 65), "limit is 64"),
        ("1000,1000;9000,9000", "82,000,000 numbers"),
    ],
)
def test_an_input_that_means_nothing_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputSizeInvalid, match=says):
        parse_input_size(text)


@pytest.mark.parametrize(("text", "says"), [("{a: 1}", "is not JSON"), ("7", "neither"), ("[" * 50_000, "not JSON")])
def test_arguments_that_are_no_json_are_refused(text: str, says: str) -> None:
    with pytest.raises(ParameterInvalid, match=says):
        parse_model_args(text)


def test_several_inputs_reach_the_model_in_their_types(tmp_path: Path) -> None:
    request, files = asked(tmp_path, THREE, "Three", input_size=parse_input_size("3,8,8;5;():int64<1000"))
    network = open_upload(request, files).network
    assert [(tuple(entry.shape), entry.dtype) for entry in network.inputs] == [
        ((2, 3, 8, 8), torch.float32),
        ((2, 5), torch.float32),
        ((2,), torch.int64),
    ]
    assert int(network.inputs[2].max()) > 1


def test_a_batch_by_names_is_given_by_keyword_and_without_its_labels(tmp_path: Path) -> None:
    sample = {"labels": 1, "attention_mask": torch.ones(7), "input_ids": torch.arange(7), "text": "words"}
    request, files = asked(tmp_path, WORDS, "Words", dataset=DataLoader([sample] * 4), input_size=None)  # type: ignore[arg-type]
    network = open_upload(request, files).network
    assert names_of(network.module) == ("attention_mask",)
    assert [entry.dtype for entry in network.inputs] == [torch.int64, torch.float32]
    expected = model(WORDS, "Words")(torch.arange(7)[None], attention_mask=torch.ones(1, 7))
    torch.testing.assert_close(network.module(*network.inputs)["scores"][:1], expected["scores"])


def test_names_come_off_a_copy_and_stay_on_the_other() -> None:
    taught = model(WORDS, "Words")
    give_by_name(taught, ("attention_mask",))
    copied = model(WORDS, "Words")
    give_by_name(copied, ("attention_mask",))
    forget_names(copied)
    ids = torch.arange(7)[None]
    assert torch.equal(taught(ids, torch.zeros(1, 7))["scores"], torch.zeros(1, 3))
    with pytest.raises(AssertionError):
        copied(ids, torch.zeros(1, 7))


def test_the_library_takes_inputs_by_keyword() -> None:
    words: Any = model(WORDS, "Words")
    given = {"input_ids": torch.arange(7)[None].repeat(2, 1), "attention_mask": torch.ones(2, 7)}
    result = coppice.prune(words, percent=0.5, example_inputs=given)
    assert result.model.inner.out_features == 6
    assert result.model(**given)["scores"].shape == (2, 3)


#: Loads what came back as its user does, in a process without us.
CLEAN = """
import json, sys
sys.path.append(sys.argv[1])
sys.modules["coppice"] = None
import torch
sys.path.insert(0, sys.argv[2])
module = __import__(sys.argv[3])
shapes = []
for made in eval(sys.argv[4], vars(module)):
    made.load_state_dict(torch.load(sys.argv[5]))
    shapes.append({key: list(value.shape) for key, value in made.state_dict().items()})
print(json.dumps(shapes))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "calls"),
    [
        ("Given", {"classes": 3, "widths": [8], "bias": True}, "Given(), Given(3, widths=[8], bias=True)"),
        ("given", (3, 8), "given(), given(3, 8), given(3, width=8)"),
    ],
)
def test_the_class_file_builds_the_pruned_shape_with_the_same_arguments_and_with_none(
    name: str, arguments: Any, calls: str, tmp_path: Path
) -> None:
    weights = model(GIVEN, "given", classes=3, width=8).state_dict()
    written = Model(source=GIVEN, name=name, input_size=(6,), file="given.py")
    request, files = upload(tmp_path, written, weights=weights, model_args=arguments)
    (tmp_path / "out").mkdir()
    report = pipeline.run(request, files, tmp_path / "out", lambda _: None)
    paths = {artifact.name: tmp_path / "out" / artifact.file for artifact in report.artifacts}
    command = [sys.executable, "-I", "-S", "-c", CLEAN, sysconfig.get_path("purelib"), str(tmp_path / "out")]
    command += [paths["class_def"].stem, calls, str(paths["state_dict"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = {"first.weight": [4, 6], "first.bias": [4], "second.weight": [3, 4], "second.bias": [3]}
    assert all(shapes == expected for shapes in json.loads(done.stdout))


@pytest.mark.slow
def test_a_model_called_by_keyword_is_written_and_loaded_back(tmp_path: Path) -> None:
    size = parse_input_size("7:int64<50;attention_mask=7:int64")
    request, files = asked(tmp_path, WORDS, "Words", input_size=size)
    (tmp_path / "out").mkdir()
    report = pipeline.run(request, files, tmp_path / "out", lambda _: None)
    paths = {artifact.name: tmp_path / "out" / artifact.file for artifact in report.artifacts}
    pair, _ = torch.load(paths["model"], weights_only=False)
    assert names_of(pair) == ()
    ids, mask = torch.arange(14).reshape(2, 7), torch.ones(2, 7, dtype=torch.int64)
    expected = pair(ids, attention_mask=mask)["scores"]
    session = onnxruntime.InferenceSession(str(paths["onnx"]), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    assert names[1:] == ["attention_mask"]
    (found,) = session.run(None, {names[0]: ids.numpy(), "attention_mask": mask.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_number_that_is_no_batch_goes_through(tmp_path: Path) -> None:
    text = (
        WORDS.replace("positions=None", "scale=1.0")
        .replace("assert positions is None", "")
        .replace("found.sum(1)}", "found.sum(1) * scale}")
    )
    batch = {"input_ids": torch.arange(14).reshape(2, 7), "scale": 0.5}
    loader: DataLoader[Any] = DataLoader([batch], batch_size=None)  # type: ignore[arg-type]
    request, files = asked(tmp_path, text, "Words", dataset=loader, input_size=None)
    (tmp_path / "out").mkdir()
    report = pipeline.run(request, files, tmp_path / "out", lambda _: None)
    assert any(group.removed for group in report.groups)
