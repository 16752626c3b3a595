"""What a job left in its folder, taken over as data: bounded, regular, validated, never followed or unpickled.

The job is dead by now, so nothing changes under the eyes of these checks. Anything that is not what it should be
makes the whole result invalid; there is no partial result.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from coppice.errors import (
    BY_CODE,
    BadRequest,
    BadUpload,
    CoppiceError,
    InternalError,
    LimitExceeded,
    Refused,
    UserCodeError,
)
from coppice.records.accounts import ACCOUNTS
from coppice.records.report import Account, Failure
from coppice.records.request import Request, Task
from coppice.sandbox.words import printable

REPORT, FAILURE = "report.json", "failure.json"

#: The report of a model with a thousand layers takes about 1 MiB.
REPORT_BYTES = 16 * 1024 * 1024

#: A message of 8,000 characters, every one of them escaped as two surrogates.
FAILURE_BYTES = 128 * 1024

#: Of one model.
MAX_ARTIFACTS = 32
#: Of a sweep: the curve, its page, the bundle, and of each point the model and its report.
MAX_SWEPT, MAX_OF_A_POINT = 3, 2

#: The table of a thousand layers has 70,000; it is kept in the database and sent at every question for the status.
SUMMARY_CHARACTERS = 1024 * 1024

#: Sent as a header later on: only plain types, and none that a browser would run but a page, which it is told to open
#: in a sandbox without scripts (`http.download`).
MEDIA_TYPE: Final = re.compile(r"text/html|(application|text)/(?!.*(html|xml|script))[a-z0-9.+-]{1,80}")

#: What a job may fail with. Keys, transactions and the service's own state are none of its business.
FAILURES: Final = (BadRequest, BadUpload, UserCodeError, Refused, LimitExceeded)


class InvalidResult(Exception):
    """The job left something that no honest pipeline leaves; the text says what."""


def collect(out: Path, destination: Path, *, request: Request, limit: int) -> Account:
    """Move the artifacts that the report names into a new folder; raises InvalidResult."""
    report = _report(out, ACCOUNTS[request.task])
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(mode=0o700)
    names = [artifact.name for artifact in report.artifacts]
    files = [artifact.file for artifact in report.artifacts]
    if len(set(names)) != len(names) or len(set(files)) != len(files) or len(names) > _most(request):
        raise InvalidResult(f"the report lists {len(names)} artifacts, too many or two alike")
    if len(report.summary) > SUMMARY_CHARACTERS:
        raise InvalidResult(f"the report's summary has {len(report.summary):,} characters")
    left = limit
    for artifact in report.artifacts:
        if MEDIA_TYPE.fullmatch(artifact.media_type) is None:
            raise InvalidResult(f"{artifact.file} has the media type {artifact.media_type!r}")
        descriptor, size = _open_regular(out / artifact.file, limit=left)
        try:
            left -= size
            if os.geteuid() == 0:
                os.fchown(descriptor, 0, 0)
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        shutil.move(out / artifact.file, destination / artifact.file)
    # The job's own idea of what it was asked is of no interest.
    return report.model_copy(update={"request": request})


def _most(request: Request) -> int:
    if request.task is Task.SWEEP:
        return MAX_SWEPT + MAX_OF_A_POINT * len(request.spots)
    return MAX_ARTIFACTS


def failure(out: Path, *, status: int) -> CoppiceError | None:
    """The error that the job reports, if it left a valid one that agrees with its exit status."""
    try:
        said = Failure.model_validate_json(_read(out / FAILURE, limit=FAILURE_BYTES))
    except (InvalidResult, ValidationError):
        return None
    kind = BY_CODE.get(said.code)
    if kind is None or kind.exit_code != status:
        return None
    if not (issubclass(kind, FAILURES) or kind is InternalError):
        return None
    return kind(printable(said.message), field=said.field and printable(said.field))


def largest_file(out: Path) -> int:
    """Size of the largest regular file directly in the folder."""
    with os.scandir(out) as entries:
        files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    return max((file.stat(follow_symlinks=False).st_size for file in files), default=0)


def _report(out: Path, kind: type[Account]) -> Account:
    try:
        return kind.model_validate_json(_read(out / REPORT, limit=REPORT_BYTES))
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "its JSON"
        raise InvalidResult(f"{REPORT} is not a report: {where}: {first['msg']}") from e


def _read(path: Path, *, limit: int) -> bytes:
    descriptor, _ = _open_regular(path, limit=limit)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _open_regular(path: Path, *, limit: int) -> tuple[int, int]:
    """Open a file that is one: no link of either kind, no device, no pipe. Its descriptor and size."""
    try:
        # O_NONBLOCK: a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise InvalidResult(f"{path.name} can't be opened: {e.strerror}") from e
    status = os.fstat(descriptor)
    wrong = (
        "is not a regular file"
        if not stat.S_ISREG(status.st_mode)
        else "is linked from elsewhere"
        if status.st_nlink != 1
        else f"has {status.st_size:,} bytes, more than the {limit:,} that are left"
        if status.st_size > limit
        else None
    )
    if wrong is not None:
        os.close(descriptor)
        raise InvalidResult(f"{path.name} {wrong}")
    return descriptor, status.st_size
