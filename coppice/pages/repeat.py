"""How a job is asked for again: the command and the call that make the same request of the same files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from coppice.records.call import call_of, parameters_of, texts_of
from coppice.records.request import Part, Request, Task

#: Where a service runs by itself.
SERVICE = "https://127.0.0.1:8443"
#: Parts that the command line takes as its argument.
_MODELS = (Part.MODEL, Part.WEIGHTS)
#: What the command line is told to write.
_OUT = {Task.PRUNE: ("-o", "pruned"), Task.SWEEP: ("-o", "swept"), Task.INSPECT: (), Task.QUANTIZE: ("-o", "quantized")}


def command_line(request: Request) -> str:
    """The command, in the folder where the files are; none for a model that was in no file."""
    model = next((request.files[part] for part in _MODELS if part in request.files), None)
    if model is None:
        return ""
    words = ["coppice", request.task.value, model, *_flags(request), *_OUT[request.task]]
    return " ".join(shlex.quote(word) for word in words)


def curl(request: Request) -> str:
    """The call of a service on this machine."""
    if not request.files:
        return ""
    query = urlencode(parameters_of(request), quote_via=quote, safe=",*:()")
    call = f"{SERVICE}/api/{call_of(request)}" + (f"?{query}" if query else "")
    forms = [word for part, name in request.files.items() for word in ("-F", f"{part.value}=@{name}")]
    return " ".join(shlex.quote(word) for word in ("curl", "-k", "-X", "POST", call, *forms))


def _flags(request: Request) -> Iterator[str]:
    for name, text in texts_of(request):
        flag = name.replace("_", "-")
        if name == "restore":  # a switch, which is on unless it is told otherwise
            yield f"--no-{flag}"
        else:
            yield from (f"--{flag}", text)
    for part, file in request.files.items():
        if part not in _MODELS:
            yield from (f"--{part.value.replace('_', '-')}", file)
