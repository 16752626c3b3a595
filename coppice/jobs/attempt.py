"""One attempt at a job, from its start to its published result or its noted failure.

Here: the files in, the run, the files out, the row. Not here: the queue (`jobs.queue`), the process and its signals
(`jobs.worker`), what contains the job (`sandbox`) and what it computes (`child`).

Whatever is killed at whatever point, the next attempt starts afresh from the stored uploads. Only the commit that ends
the job counts, and it counts once: it is conditional on this attempt still being the job's last.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from coppice.errors import CoppiceError, InternalError, StorageUnavailable, WorkerDied
from coppice.jobs import metrics, queries
from coppice.jobs.patience import insist, while_the_store_is_away
from coppice.jobs.progress import saving_progress
from coppice.jobs.publish import download_name, store_results
from coppice.jobs.queue import JobFailedError
from coppice.jobs.tables import JobRow
from coppice.records.report import Account, Failure, Progress
from coppice.records.request import Request
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import Storage, job_prefixes, upload_key

if TYPE_CHECKING:
    from coppice.sandbox import Runner

_log = logging.getLogger(__name__)

#: What a call of the operating system fails with for want of a disk to write to.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every attempt of one worker uses."""

    settings: Settings
    engine: Engine
    storage: Storage
    runner: Runner
    folder: Path  # of the worker's slot; each job gets one in it
    #: Whether a job is still this worker's to start. One that was stopped for a while may have lost it unawares.
    keeps: Callable[[Session, str], bool] = lambda _session, _txid: True


async def attempt(tools: Tools, txid: str, begun: Callable[[str, int], None] = lambda _txid, _attempt: None) -> None:
    """Start a job once more and bring it to an end; raises JobFailedError when that is a failure.

    `begun` is told the number of the start. Cancelled, it kills what it started and leaves the row as it is.
    """
    row = await insist(lambda: _begin(tools, txid, begun), f"job {txid}")
    if row is None:  # the worker was killed between the commit that published the result and the queue's note of it
        return
    metrics.job_started(Terms.model_validate(row.terms).queue, row.submitted, row.attempts)
    folder = tools.folder / txid
    error: CoppiceError | None = None
    try:
        await _run(tools, row, folder)
    except JobFailedError:
        raise
    except Exception as e:  # noqa: BLE001  # whatever it is, it ends this job and not the worker
        error = _told(e, row)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if error is not None and not await insist(lambda: _fail(tools, row, error), f"job {txid}"):
        # It was cancelled, or another process has it by now and needs the uploads: it only looked dead to that one.
        raise JobFailedError(txid)
    try:
        await tools.storage.delete_prefix(job_prefixes(txid)[0])
    except (OSError, StorageUnavailable):  # the job has ended, and nothing may change that; the sweep tries again
        _log.warning("uploads of job %s not deleted", txid, exc_info=True)
    if error is not None:
        raise JobFailedError(txid)


def _begin(tools: Tools, txid: str, begun: Callable[[str, int], None]) -> JobRow | None:
    with Session(tools.engine, expire_on_commit=False) as session, session.begin():
        if not tools.keeps(session, txid):
            raise JobFailedError(txid)  # of which the queue, too, takes no note
        row = queries.begin_attempt(session, txid)
        if row is None:
            ended = queries.job(session, txid)
            if ended is None or ended.failure is not None:
                raise JobFailedError(txid)
    if row is not None:
        begun(txid, row.attempts)
    return row


def _told(error: Exception, row: JobRow) -> CoppiceError:
    """What the client is told: the error itself, or of a fault of ours no more than where the operator finds it."""
    if isinstance(error, OSError) and error.errno in _DISK:
        _log.error("job %s, attempt %d", row.txid, row.attempts, exc_info=error)
        return StorageUnavailable("The service's disk is full or can't be written. Send the job again later.")
    ours = isinstance(error, InternalError) and not isinstance(error, StorageUnavailable)
    if isinstance(error, CoppiceError) and not ours:
        return error
    reference = uuid4().hex[:12]
    _log.error("job %s, attempt %d, reference %s", row.txid, row.attempts, reference, exc_info=error)
    return InternalError(f"The service failed on this job. Reference for the operator: {reference}.")


async def _run(tools: Tools, row: JobRow, folder: Path) -> None:
    settings = tools.settings
    if row.attempts - row.handed_back > settings.max_attempts:
        raise WorkerDied(
            f"The job was started {settings.max_attempts} times, and each time the process that ran it died."
            " Check the model's code for what could end a process, or ask the operator."
        )
    await while_the_store_is_away(lambda: _bring_files(tools.storage, row, folder), f"job {row.txid}")

    def save(progress: Progress) -> None:
        with Session(tools.engine) as session, session.begin():
            queries.save_progress(session, row.txid, row.attempts, progress)

    async with saving_progress(save) as show:
        report = await tools.runner.run(folder, show, seconds=Terms.model_validate(row.terms).time_limit)
    await _publish(tools, row, report, folder / "out")


async def _bring_files(storage: Storage, row: JobRow, folder: Path) -> None:
    request = Request.model_validate(row.request)
    for part, name in request.files.items():
        place = folder / "in" / part.value
        place.mkdir(parents=True, exist_ok=True)
        await storage.fetch(upload_key(row.txid, part, name), place / name)
    (folder / "request.json").write_text(request.model_dump_json())


async def _publish(tools: Tools, row: JobRow, report: Account, out: Path) -> None:
    limit, filename = tools.settings.job_output_bytes, download_name(report)
    artifacts = await while_the_store_is_away(
        lambda: store_results(
            tools.storage, row.txid, row.attempts, report=report, filename=filename, out=out, limit=limit
        ),
        f"job {row.txid}",
    )

    def commit() -> bool:
        with Session(tools.engine) as session, session.begin():
            if queries.publish(
                session,
                row.txid,
                row.attempts,
                finished=datetime.now(UTC),
                summary=report.summary,
                filename=filename,
                artifacts=artifacts,
            ):
                return True
            # The connection may have been lost after an earlier commit and before its answer. The name is this
            # attempt's alone.
            ended = queries.job(session, row.txid)
            return ended is not None and ended.filename == filename

    if not await insist(commit, f"job {row.txid}"):  # cancelled at the last moment, or taken over by another process
        _log.info("job %s has ended otherwise, attempt %d comes too late", row.txid, row.attempts)
        raise JobFailedError(row.txid)
    metrics.job_ended(row.request, "done", row.started)
    _log.info("job %s done, attempt %d", row.txid, row.attempts)


def _fail(tools: Tools, row: JobRow, error: CoppiceError) -> bool:
    """End the job with a failure; False when it has ended otherwise, or a later attempt has taken over."""
    failure = Failure(code=error.code, message=error.message[:8000], field=error.field and error.field[:200])
    with Session(tools.engine) as session, session.begin():
        if not queries.fail(session, row.txid, row.attempts, finished=datetime.now(UTC), failure=failure):
            # As above; a job has one failure.
            ended = queries.job(session, row.txid)
            return ended is not None and ended.failure is not None and ended.attempts == row.attempts
    metrics.job_ended(row.request, error.code, row.started)
    _log.info("job %s failed, attempt %d: %s", row.txid, row.attempts, error.code)
    return True
