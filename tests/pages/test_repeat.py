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
from coppice.records.request import Part, Request, Task
from tests.pages.accounts import REQUEST

REQUESTS = {
    "everything": REQUEST,
    "little": Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "my model.h5"}),
    "loss": Request(framework=Framework.ONNX, percent=0.75, max_drop=0.02, files={Part.MODEL: "m.onnx"}),
    "sweep": Request(
        framework=Framework.KERAS, task=Task.SWEEP, percents=(0.25, 0.5), percent=0.5, files={Part.MODEL: "m.h5"}
    ),
    "inspection": Request(framework=Framework.KERAS, task=Task.INSPECT, percent=0.3, files={Part.MODEL: "m.h5"}),
}
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
    texts = {name: value for name, value in typed.items() if name in ("percent", "percents", "max_drop")}
    model, cut = (
        {entry.name: typed[entry.name] for entry in fields(record) if entry.name in typed}
        for record in (options.Model, options.Cut)
    )
    with options.request_of(options.Model(**model), Task(task), options.Cut(**cut), **texts) as (found, files):
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
