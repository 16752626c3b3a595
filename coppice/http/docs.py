"""The description of the calls: OpenAPI out of the tables that the calls themselves read, and Swagger UI to show it.

The page and all that it loads come from this server: no CDN, no font, no badge of another host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from coppice.errors import (
    BY_CODE,
    CoppiceError,
    EmptyFile,
    IdempotencyConflict,
    KeyInvalid,
    ParameterInvalid,
    ResultExpired,
    TooManyRequests,
    UnknownAddress,
    UnknownLayer,
    UnknownTransaction,
    UnsupportedMediaType,
    UploadTooLarge,
)
from coppice.errors.families import PAGES as ERRORS
from coppice.http import idempotency
from coppice.http.answers import HUB, CallRefused, Deleted, Jobs, Status, Submitted, UploadRefused
from coppice.http.auth import CLIENT_ID, CLIENT_SECRET
from coppice.http.events import MAX_WAIT
from coppice.http.intake import INTAKES, Intake
from coppice.http.listing import AFTER, FILTERS
from coppice.http.parameters import parameters_of
from coppice.http.parts import parts_of
from coppice.pages import render_error, render_errors

#: Where the files of the page are.
ASSETS = "/docs/assets"

#: What the name of a part's file may end in, for pages that sort files by it (OpenAPI lets extensions begin with x-).
SUFFIXES = "x-suffixes"

_STATIC = Path(__file__).parent / "static"
#: Swagger UI sets styles inline; all else comes as files of this host.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ABOUT = f"""Removes whole channels from PyTorch, Keras and ONNX models, and keeps what is left in fewer bits. Send a
model, keep the `txid` of the answer, ask for its status until that is 0, download the result, retrain it.

Every parameter may also come as a form field. The same calls answer under `{HUB}/api`: choose it as server.
The answer to a call that fails says why in `message`, and in `code` for machines.
"""

_MASK = {
    "name": "X-Fields",
    "in": "header",
    "required": False,
    "description": "An optional fields mask: the answer holds only those fields, e.g. `txid,message`, `{txid}` or `*`. "
    "The message of a refusal is not masked.",
    "schema": {"type": "string"},
}
_TXID = {
    "name": "txid",
    "in": "query",
    "required": True,
    "description": "Transaction id that the call which sent the model answered.",
    "schema": {"type": "string"},
}
_ARTIFACT = {
    "name": "artifact",
    "in": "query",
    "required": False,
    "description": "Which file of the result; by default the result itself. `model`: the pruned model, for PyTorch "
    "the pickled `(model, info)` pair. `state_dict`: its tensors only. `weights`: the same in the form that came, a "
    "checkpoint or safetensors. `class_def`: the class file with which the state dict loads. `onnx`: where the model "
    "exports. `quantized`: the file of fewer bits; with packed safetensors, what reads it: the class file "
    "`quantized_class_def` for PyTorch, `quantized_loader` for Keras. `report`: the whole account, JSON; "
    "`report_html`: the same as a web page. `bundle`: a zip of all of them. `inspection`: what `inspect` found, JSON, "
    "with `report_html`. Of a sweep: `curve`, JSON, and `curve_html`, the same as a web page; `model_40` and "
    "`report_40` of the ratio 0.4, `quantized_40_int8` and `report_40_int8` of it in int8, and so on for every point; "
    "`bundle`, a zip of every file of every point, with what reads packed safetensors.",
    "schema": {"type": "string"},
}
_WAIT = {
    "name": "wait",
    "in": "query",
    "required": False,
    "description": f"Seconds, up to {MAX_WAIT}: the answer comes as soon as the job has ended, or after that time.",
    "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT},
}
_LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The `id` of the last event that you have, which is not sent again; browsers add it by themselves.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": f"Your own name for this call, up to {idempotency.MAX_CHARACTERS} characters, best a UUID: sent "
    f"again with it, the same call answers the `txid` of the first and `{idempotency.REPLAYED}: true`, and no second "
    "job begins. Another call with it is refused.",
    "schema": {"type": "string", "maxLength": idempotency.MAX_CHARACTERS},
}
_KEY: list[dict[str, list[str]]] = [{CLIENT_ID: [], CLIENT_SECRET: []}, {}]

#: HTTP status -> what it means, and a refusal of that kind as an example.
_REASONS: Mapping[int, tuple[str, CoppiceError]] = {
    400: (
        "A parameter is missing, malformed or unknown; or the fields mask does not parse",
        ParameterInvalid("'percnt' is no parameter of tf_prune. Did you mean percent?", field="percnt"),
    ),
    401: ("The API key is missing or wrong", KeyInvalid(f"{CLIENT_ID} is missing.", field=CLIENT_ID)),
    404: (
        "No such transaction of yours, or no such artifact",
        UnknownTransaction("No transaction submitted for txid", field="txid"),
    ),
    409: (
        "No result there: the job is queued, running, cancelled, or failed for the reason given",
        UnknownLayer("The model has no layer fc3. It has conv1, conv2, fc1, fc2.", field="fc3"),
    ),
    410: ("The result is past its retention", ResultExpired("The result is past its retention and was deleted.")),
    413: (
        "The files are larger than the service takes",
        UploadTooLarge("The upload is larger than 4,294,967,296 bytes, the limit of this service."),
    ),
    415: (
        "The body is no form, or a file has a suffix that the part does not take",
        UnsupportedMediaType("class_def: 'my-model.py' can't be imported as a module.", field="class_def"),
    ),
    422: ("A file is not what it should be", EmptyFile("model: 'mnist_base.h5' is empty.", field="model")),
    429: (
        "Too many calls, uploads under way, jobs or stored bytes: wait as long as `Retry-After` says",
        TooManyRequests("8 uploads of yours are under way, as many as one client may have."),
    ),
}


_TAKING: Mapping[int, tuple[str, CoppiceError]] = {
    **_REASONS,
    409: (
        "The Idempotency-Key was used for another call, or the job that `source_txid` names has no result",
        IdempotencyConflict("The Idempotency-Key was used before, for another call.", field=idempotency.HEADER),
    ),
}


def describe(call: str) -> dict[str, Any]:
    """What FastAPI is to say of a call."""
    return {"operation_id": call, **_CALLS[call]()}


def add_docs(app: FastAPI) -> None:
    """Add the page, its files, and the OpenAPI description."""
    app.router.routes.extend(
        [
            Route("/docs", _page, include_in_schema=False),
            Route("/docs/", _page, include_in_schema=False),
            Route(ERRORS, _errors, include_in_schema=False),
            Route(f"{ERRORS}/{{code}}", _error, include_in_schema=False),
            Mount(ASSETS, StaticFiles(directory=_STATIC)),
        ]
    )
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generated()
            schema["components"]["securitySchemes"] = {
                name: {"type": "apiKey", "in": "header", "name": name, "description": f"The {what} of an API key."}
                for name, what in ((CLIENT_ID, "id"), (CLIENT_SECRET, "secret"))
            }
            app.openapi_schema = schema
        return app.openapi_schema

    # FastAPI's documented way to extend the schema.
    app.openapi = openapi  # type: ignore[method-assign]


async def _page(_http: Request) -> Response:
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _PAGE_POLICY})


async def _errors(_http: Request) -> Response:
    return HTMLResponse(render_errors())


async def _error(http: Request) -> Response:
    code = http.path_params["code"]
    if code not in BY_CODE:
        raise UnknownAddress(f"No error has the code {code[:64]!r}. {ERRORS} lists those that there are.")
    return HTMLResponse(render_error(BY_CODE[code]))


def _take(intake: Intake) -> dict[str, Any]:
    parameters = [
        {
            "name": parameter.name,
            "in": "query",
            # A required one may come as a form field, and then not in the query; the page asks for it all the same.
            "required": parameter.required_by(intake),
            "description": _with_aliases(parameter.description, parameter.aliases),
            "schema": {
                "type": parameter.json_type,
                **({"enum": parameter.choices} if parameter.choices else {}),
                **({} if parameter.default is None else {"default": parameter.default}),
            },
            # Only what is required is filled in on the page: an example of anything else would be sent.
            **({"example": parameter.example} if parameter.required_by(intake) else {}),
        }
        for parameter in parameters_of(intake)
    ]
    parts: dict[str, dict[str, Any]] = {}
    for part in parts_of(intake):
        text = f"{_with_aliases(part.description, part.aliases)} ({', '.join(part.suffixes)})"
        shown = parts.setdefault(
            part.part.value, {"type": "string", "format": "binary", "description": "", SUFFIXES: []}
        )
        shown["description"] = f"{shown['description']} {text}".strip()
        shown[SUFFIXES] = list(dict.fromkeys([*shown[SUFFIXES], *part.suffixes]))
    required = [part.part.value for part in parts_of(intake) if part.required_by(intake)]
    form = {"type": "object", "required": required, "properties": parts}
    sourced = any(parameter.attribute == "source_txid" for parameter in parameters_of(intake))
    found = _call(
        tag="Send",
        summary=intake.summary,
        answer=Submitted,
        refused=UploadRefused,
        reasons=(400, 401, *((404, 410) if sourced else ()), 409, 413, 415, 422, 429),
        meanings=_TAKING,
        parameters=[*parameters, _IDEMPOTENCY, _MASK],
        extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}},
    )
    return {**found, "description": intake.description}


def _call(
    *,
    summary: str,
    answer: type[BaseModel] | None,
    refused: type[UploadRefused | CallRefused],
    reasons: Sequence[int],
    parameters: Sequence[Mapping[str, Any]],
    meanings: Mapping[int, tuple[str, CoppiceError]] = _REASONS,
    extra: Mapping[str, Any] | None = None,
    tag: str = "Follow",
) -> dict[str, Any]:
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {
            **({200: {"model": answer, "description": "All is well"}} if answer else {}),
            **{reason: _refusal(refused, *meanings[reason]) for reason in reasons},
        },
        "openapi_extra": {"parameters": list(parameters), "security": _KEY, **(extra or {})},
    }


def _refusal(kind: type[UploadRefused | CallRefused], meaning: str, error: CoppiceError) -> dict[str, Any]:
    example = kind(**error.as_dict()).model_dump(exclude_none=True)
    return {"model": kind, "description": meaning, "content": {"application/json": {"example": example}}}


def _with_aliases(description: str, aliases: Sequence[str]) -> str:
    return f"{description} Also called {' and '.join(f'`{alias}`' for alias in aliases)}." if aliases else description


def _download() -> dict[str, Any]:
    file = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    found = _call(
        summary="Download the result, or another file of it",
        answer=None,
        refused=CallRefused,
        reasons=(400, 401, 404, 409, 410, 429),
        parameters=[_TXID, _ARTIFACT],
    )
    found["responses"][200] = {"description": "The file, with its name, type, length and ETag (its SHA-256)"}
    found["openapi_extra"]["responses"] = {"200": {"content": file}}
    return {**found, "response_class": Response}


def _events() -> dict[str, Any]:
    found = _call(
        summary="Follow a job by server-sent events",
        answer=None,
        refused=CallRefused,
        reasons=(400, 401, 404, 429),
        parameters=[_TXID, _LAST_EVENT, _MASK],
    )
    found["responses"][200] = {
        "description": "`event: status`, the answer of `status` as `data`, an `id`, until the job has ended"
    }
    found["responses"][204] = {"description": "The job has ended, and you have its last event"}
    found["openapi_extra"]["responses"] = {"200": {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    return {**found, "response_class": Response}


def _jobs() -> dict[str, Any]:
    filters = [
        {
            "name": one.name,
            "in": "query",
            "required": False,
            "description": one.description,
            "schema": {"type": one.json_type, **({"enum": one.choices} if one.choices else {})},
        }
        for one in FILTERS
    ]
    after = {
        "name": AFTER,
        "in": "query",
        "required": False,
        "description": "`next` of the page before.",
        "schema": {"type": "string"},
    }
    return _call(
        summary="Your jobs",
        answer=Jobs,
        refused=CallRefused,
        reasons=(400, 401, 429),
        parameters=[*filters, after, _MASK],
    )


def _delete() -> dict[str, Any]:
    return _call(
        summary="Delete a job and all its files, whatever its state",
        answer=Deleted,
        refused=CallRefused,
        reasons=(400, 401, 404, 429),
        parameters=[_TXID, _MASK],
    )


_CALLS: Mapping[str, Callable[[], dict[str, Any]]] = {
    **{call: partial(_take, intake) for call, intake in INTAKES.items()},
    "status": lambda: _call(
        summary="Where a job stands",
        answer=Status,
        refused=CallRefused,
        reasons=(400, 401, 404, 429),
        parameters=[_TXID, _WAIT, _MASK],
    ),
    "download": _download,
    "cancel": lambda: _call(
        summary="Stop a job that has not ended",
        answer=Status,
        refused=CallRefused,
        reasons=(400, 401, 404, 429),
        parameters=[_TXID, _MASK],
    ),
    "events": _events,
    "jobs": _jobs,
    "delete": _delete,
    "delete_job": _delete,
}
