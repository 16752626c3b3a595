"""A laboratory for hostile jobs: real sandboxes around small scripts that stand in for `coppice.child`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from coppice.errors import IsolationUnavailable, Refused
from coppice.records.frameworks import Framework
from coppice.records.report import Account, Artifact, Check, Cost, Progress, Report, Verification
from coppice.records.request import Request
from coppice.sandbox import cgroups
from coppice.sandbox.bare import Bare
from coppice.sandbox.box import Walls
from coppice.sandbox.cgroups import Cgroups, NoCgroup
from coppice.sandbox.limits import Limits
from coppice.sandbox.opening import WALLS, examine
from coppice.sandbox.runner import BoxRunner, private
from coppice.settings import Settings, load

MIB = 1024 * 1024

REQUEST = Request(framework=Framework.PYTORCH, percent=0.5)

#: The protocol of coppice.child, and a way for a script to tell what it found: as the text of a refusal.
PROLOGUE = """
import json, os, sys
from pathlib import Path
box = Path(sys.argv[1])
out = box / "out"
print('{"ready": true}', flush=True)
assert sys.stdin.readline() == "go\\n"
def tell(found):
    (out / "failure.json").write_text(json.dumps({"code": "refused", "message": json.dumps(found)}))
    os._exit(5)
def attempt(action):
    try:
        return repr(action())
    except BaseException as e:
        return type(e).__name__
"""


def report(*files: str, media_type: str = "application/octet-stream") -> Report:
    """A valid report that lists these files as artifacts."""
    cost = Cost(parameters=1, bytes=4, macs=1)
    names = ("model", *(f"more_{chr(97 + number)}" for number in range(26)))
    return Report(
        coppice="0",
        request=REQUEST,
        verification=Verification(check=Check.NONE),
        before=cost,
        after=cost,
        summary="",
        artifacts=tuple(
            Artifact(name=name, file=file, media_type=media_type) for name, file in zip(names, files, strict=False)
        ),
    )


@dataclass
class Lab:
    """Runs scripts as jobs."""

    root: Path
    #: The walls that all tests here are run behind: `test_levels` does so again behind others.
    isolation: str = os.environ.get("SANDBOX", "bwrap")
    limits: dict[str, Any] = field(default_factory=dict)
    opened: list[BoxRunner] = field(default_factory=list)

    @property
    def boxes(self) -> Path:
        """The folder that boxes are made in."""
        return self.root / "scratch" / "boxes"

    def folder(self) -> Path:
        """A job's folder as a worker prepares it, with one input file."""
        folder = self.root / f"job-{uuid4().hex}"
        (folder / "in" / "model").mkdir(parents=True)
        (folder / "in" / "model" / "model.h5").write_bytes(b"the upload")
        (folder / "request.json").write_text(REQUEST.model_dump_json())
        return folder

    def runner(self, body: str, *, warm: int = 0, prologue: str = PROLOGUE, **limits: int) -> BoxRunner:
        """A runner whose jobs are this script."""
        given = load({}, isolation=self.isolation, **{"job_seconds": 20, **self.limits, **limits})
        boxes = private(self.boxes)
        runner = BoxRunner(
            walls(given),
            limits=Limits.of(given),
            command=lambda box: (sys.executable, "-I", "-B", "-c", prologue + body, str(box)),
            scratch=boxes,
            warm=warm,
        )
        self.opened.append(runner)
        return runner

    def run(
        self,
        body: str,
        *,
        on_progress: Callable[[Progress], None] = lambda _: None,
        folder: Path | None = None,
        prologue: str = PROLOGUE,
        **limits: int,
    ) -> Account:
        """Run one script to its end."""
        runner = self.runner(body, prologue=prologue, **limits)
        return asyncio.run(runner.run(folder or self.folder(), on_progress))

    def found(self, body: str, **limits: int) -> Any:
        """What a script tells of its surroundings."""
        with pytest.raises(Refused) as refusal:
            asyncio.run(self.runner(body, warm=0, prologue=PROLOGUE, **limits).run(self.folder(), lambda _: None))
        return json.loads(refusal.value.message)


def walls(given: Settings) -> Walls:
    """The walls of an isolation, tried once."""
    if given.isolation == "none":
        return Bare.find(Limits.of(given))
    reason = missing(given.isolation)
    if reason is not None:
        pytest.skip(reason)
    return WALLS[given.isolation](Limits.of(given), None, groups())


@cache
def groups() -> Cgroups | None:
    """Where control groups can be made."""
    try:
        return cgroups.find()
    except NoCgroup:
        return None


@cache
def missing(isolation: str) -> str | None:
    """Why there is no such sandbox here: a reason to skip at home, and to fail where tests must be complete."""
    try:
        examine(load({}, isolation=isolation))
    except IsolationUnavailable as e:
        if os.environ.get("CI") == "true" or (isolation == "bwrap" and shutil.which("bwrap")):
            raise
        return e.message
    return None


def bubblewrap_missing() -> str | None:
    """The same for namespaces."""
    return missing("bwrap")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    for runner in lab.opened:
        runner.close()
    assert not lab.boxes.exists() or not list(lab.boxes.iterdir()), "a box was left behind"


@pytest.fixture(params=["sandbox", "none"])
def any_lab(lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """For what must hold with and without a sandbox."""
    if request.param == "none":
        lab.isolation = "none"
    return lab


def processes(token: str) -> list[int]:
    """The processes of this machine that carry a word in their command line, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:  # ended meanwhile
                continue
            if token.encode() in command:
                found.append(int(entry.name))
    return found
