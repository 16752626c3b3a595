"""A request as a call of the HTTP contract: its name, and the parameters that say what is not asked for by itself."""

from __future__ import annotations

from collections.abc import Iterator

from coppice.records.request import Part, Request, Task
from coppice.records.texts import written

#: attribute of `Request` -> the parameter that carries it, where their names differ.
PARAMETERS = {"omit": "ommitted", "output_format": "format"}

#: The call of a task, where it is not one call for each framework.
_CALLS = {Task.INSPECT: "inspect"}

#: Told by the call itself and by its files.
_TOLD = {"framework", "task", "files"}


def call_of(request: Request) -> str:
    """The last part of the call's address."""
    return _CALLS.get(request.task, f"{request.framework.value}_{request.task.value}")


def parameters_of(request: Request) -> dict[str, str]:
    """Its parameters by the documents' names."""
    return {PARAMETERS.get(name, name): text for name, text in texts_of(request)}


def texts_of(request: Request) -> Iterator[tuple[str, str]]:
    """The attributes that differ from what is so by itself, as they are typed.

    Of the earlier job whose result was taken nothing is said where the files are there, which outlive it.
    """
    said = {
        # Which the ratios of a sweep say, or a plan, and which means nothing where nothing is cut.
        "percent": request.task in (Task.SWEEP, Task.QUANTIZE) or Part.PLAN in request.files,
        "source_txid": bool(request.files.keys() - {Part.DATASET, Part.PLAN}),
    }
    for name in request.model_dump(exclude=_TOLD, exclude_defaults=True):
        if not said.get(name):
            yield name, written(name, getattr(request, name))
