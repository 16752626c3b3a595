"""Files as users have them: a model of the zoo, saved by one framework in one format, and its pruned copy."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from coppice import pipeline
from coppice.formats import open_upload
from coppice.records.frameworks import Framework as Call
from coppice.records.report import Report
from coppice.records.request import Part, Request
from tests.dialects.frameworks import Framework


class Dialect(NamedTuple):
    """A framework's environment and one of the formats that it writes: `.h5`, `.keras`, or "" for a SavedModel."""

    environment: str
    suffix: str

    def __str__(self) -> str:
        return f"{self.environment}{self.suffix or '-savedmodel'}"


DIALECTS = (
    Dialect("tf23", ".h5"),
    Dialect("tf212", ".h5"),
    Dialect("keras3", ".h5"),
    Dialect("keras3", ".keras"),
    Dialect("tf23", ""),
    Dialect("tf212", ""),
)
#: Written in formats of its own; what both share with TensorFlow 2.12 is proven there.
TF215 = (Dialect("tf215", ".keras"), Dialect("tf215", ""))
SAVED_MODELS = tuple(dialect for dialect in DIALECTS if not dialect.suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A model as the framework saved it: what its loader takes, and what its user uploads."""

    framework: Framework
    path: Path
    upload: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a job made of a saved model: its report, and the model as the framework's loader takes it."""

    report: Report
    path: Path


class Zoo:
    """The saved models and their pruned copies, each made when it is first asked for."""

    def __init__(self, frameworks: Callable[[str], Framework], folder: Path) -> None:
        self._frameworks = frameworks
        self._folder = folder
        self._pruned: dict[Path, Pruned] = {}

    def saved(self, dialect: Dialect, model: str) -> Saved:
        """A model in one dialect."""
        framework = self._frameworks(dialect.environment)
        folder = self._folder / str(dialect)
        folder.mkdir(exist_ok=True)
        path = folder / f"{model}{dialect.suffix}"
        if not path.exists():
            framework.ask("build", model=model, file=path)
        upload = path if dialect.suffix else Path(shutil.make_archive(str(path), "zip", folder, model))
        return Saved(framework=framework, path=path, upload=upload)

    def pruned(self, saved: Saved) -> Pruned:
        """A saved model as pruned by the default share; nobody may write to it."""
        if saved.path not in self._pruned:
            out = self._folder / f"{saved.path.parent.name}-{saved.path.stem}-pruned"
            out.mkdir()
            report = prune(saved, out)
            self._pruned[saved.path] = Pruned(report=report, path=result(saved, report, out))
        return self._pruned[saved.path]


def prune(saved: Saved, out: Path, percent: float = 0.4) -> Report:
    """What a job does with the upload, but for the reload: here the framework itself loads what was written."""
    request = Request(framework=Call.KERAS, percent=percent, files={Part.MODEL: saved.upload.name})
    source = open_upload(request, {Part.MODEL: saved.upload})
    cut = pipeline.prune(source.network, request, lambda _: None)
    report = pipeline.report_on(source.network, cut, request)
    artifacts = source.write(cut.module, cut.plan, report, out)
    return report.model_copy(update={"artifacts": artifacts, "notes": (*report.notes, *source.notes)})


def result(saved: Saved, report: Report, out: Path) -> Path:
    """The pruned model as the framework's loader takes it: a zip is unpacked."""
    written = out / report.artifacts[0].file
    if written.suffix != ".zip":
        return written
    with zipfile.ZipFile(written) as archive:
        archive.extractall(out / "unzipped")
    return out / "unzipped" / saved.path.name
