"""The command and the call that a page prints make the same request again."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer

from coppice.cli import options
from coppice.cli.app import app
from coppice.http.intake import INTAKES
from coppice.http.parts import find_part
from coppice.http.reading import read_parameters, to_request
from coppice.pages.repeat import command_line, curl
from coppice.records.frameworks import Framework
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import Part, Request, Task
from tests.pages.accounts import REQUEST

REQUESTS = {
    "everything": REQUEST,
    "little": Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "my model.h5"}),
    "loss": Request(framework=Framework.ONNX, percent=0.75, max_drop=0.02, files={Part.MODEL: "m.onnx"}),
    "sweep": Request(
        framework=Framework.KERAS, task=Task.SWEEP, percents=(0.25, 0.5), percent=0.5, files={Part.MODEL: "m.h5"}
    ),
    "sweep of precisions": Request(
        framework=Framework.ONNX,
        task=Task.SWEEP,
        percents=(0.0, 0.5),
        percent=0.5,
        precisions=(Precision.FLOAT32, Precision.INT8, Precision.FLOAT16),
        layers={"fc*": Precision.INT4},
        files={Part.MODEL: "m.onnx", Part.DATASET: "train.npz"},
    ),
    "cut and quantized": Request(
        framework=Framework.ONNX,
        percent=0.5,
        precision=Precision.INT4,
        biases=Precision.FLOAT16,
        rounding=Rounding.NEAREST,
        files={Part.MODEL: "m.onnx"},
    ),
    "quantized": Request(
        framework=Framework.KERAS,
        task=Task.QUANTIZE,
        percent=0.0,
        weights=Precision.INT8,
        biases=Precision.FLOAT32,
        activations=Activations.DYNAMIC,
        output_format=Format.TFLITE,
        max_drop=0.02,
        files={Part.MODEL: "m.h5", Part.DATASET: "train.npz"},
    ),
    "inspection": Request(framework=Framework.KERAS, task=Task.INSPECT, percent=0.3, files={Part.MODEL: "m.h5"}),
}
#: Of the commands, beside the records of options.
TEXTS = ("percent", "percents", "precision", "precisions", "weights", "max_drop")
every = pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())


@every
def test_the_command_asks_for_the_same(request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in request_.files.values():
        Path(name).write_bytes(b"content")
    program, task, *words = shlex.split(command_line(request_))
    assert program == "coppice"
    commands: Any = typer.main.get_command(app)
    typed = commands.commands[task].make_context(task, words).params
    texts = {name: value for name, value in typed.items() if name in TEXTS}
    records = [options.Model, options.Numbers]
    if Task(task) is not Task.QUANTIZE:
        records.append(options.Cut)
    model, *more = (
        record(**{entry.name: typed[entry.name] for entry in fields(record) if entry.name in typed})
        for record in records
    )
    with options.request_of(model, Task(task), *more, **texts) as (found, files):
        assert found == request_
        assert {part: path.name for part, path in files.items()} == request_.files


@every
def test_the_call_asks_for_the_same(request_: Request) -> None:
    program, _, _, _, address, *forms = shlex.split(curl(request_))
    assert program == "curl"
    url = urlsplit(address)
    call = url.path.removeprefix("/api/")
    files = dict(form.split("=@") for form in forms if form != "-F")
    values = read_parameters(INTAKES[call], parse_qsl(url.query, keep_blank_values=True))
    parts = {find_part(INTAKES[call], part, name): name for part, name in files.items()}
    assert to_request(INTAKES[call], values, parts) == request_


def test_a_file_name_is_one_word_whatever_is_in_it() -> None:
    request = Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "a; rm -rf $HOME `x`.h5"})
    assert shlex.split(command_line(request))[2] == "a; rm -rf $HOME `x`.h5"
    assert shlex.split(curl(request))[-1] == "model=@a; rm -rf $HOME `x`.h5"
