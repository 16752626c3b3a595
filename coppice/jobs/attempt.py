"""One attempt at a job, from its start to its published result or its noted failure.

Here: the files in, the run, the files out, the row. Not here: the queue (`jobs.queue`), the process and its signals
(`jobs.worker`), what contains the job (`sandbox`) and what it computes (`child`).

Whatever is killed at whatever point, the next attempt starts afresh from the stored uploads. Only the commit that ends
the job counts, and it counts once: it is conditional on this attempt still being the job's last.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from coppice.errors import CoppiceError, InternalError, WorkerDied
from coppice.jobs import queries
from coppice.jobs.progress import saving_progress
from coppice.jobs.publish import download_name, store_results
from coppice.jobs.queue import JobFailedError
from coppice.jobs.tables import JobRow
from coppice.records.report import Account, Failure, Progress
from coppice.records.request import Request
from coppice.settings import Settings
from coppice.storage import Storage, job_prefixes, upload_key

if TYPE_CHECKING:
    from coppice.sandbox import Runner

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every attempt of one worker uses."""

    settings: Settings
    engine: Engine
    storage: Storage
    runner: Runner
    folder: Path  # of the worker's slot; each job gets one in it


async def attempt(tools: Tools, txid: str) -> None:
    """Start a job once more and bring it to an end; raises JobFailedError when that is a failure.

    Cancelled, it kills what it started and leaves the row as it is.
    """
    row = await asyncio.to_thread(_begin, tools, txid)
    if row is None:  # the worker was killed between the commit that published the result and the queue's note of it
        return
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
    if error is not None:
        await asyncio.to_thread(_fail, tools, row, error)
    try:
        await tools.storage.delete_prefix(job_prefixes(txid)[0])
    except OSError:  # the job has ended, and nothing may change that; the sweep tries again
        _log.warning("uploads of job %s not deleted", txid, exc_info=True)
    if error is not None:
        raise JobFailedError(txid)


def hand_back(tools: Tools, txid: str) -> None:
    """Don't hold the last start against the job: the service was stopped, the job did nothing wrong."""
    with Session(tools.engine) as session, session.begin():
        queries.hand_back_attempt(session, txid)


def _begin(tools: Tools, txid: str) -> JobRow | None:
    with Session(tools.engine, expire_on_commit=False) as session, session.begin():
        row = queries.begin_attempt(session, txid)
        if row is None:
            ended = queries.job(session, txid)
            if ended is None or ended.failure is not None:
                raise JobFailedError(txid)
    return row


def _told(error: Exception, row: JobRow) -> CoppiceError:
    """What the client is told: the error itself, or of a fault of ours no more than where the operator finds it."""
    if isinstance(error, CoppiceError) and not isinstance(error, InternalError):
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
    await _bring_files(tools.storage, row, folder)

    def save(progress: Progress) -> None:
        with Session(tools.engine) as session, session.begin():
            queries.save_progress(session, row.txid, row.attempts, progress)

    async with saving_progress(save) as show:
        report = await tools.runner.run(folder, show)
    await _publish(tools, row, report, folder / "out")


async def _bring_files(storage: Storage, row: JobRow, folder: Path) -> None:
    request = Request.model_validate(row.request)
    folder.mkdir()
    for part, name in request.files.items():
        place = folder / "in" / part.value
        place.mkdir(parents=True)
        await storage.fetch(upload_key(row.txid, part, name), place / name)
    (folder / "request.json").write_text(request.model_dump_json())


async def _publish(tools: Tools, row: JobRow, report: Account, out: Path) -> None:
    limit, filename = tools.settings.job_output_bytes, download_name(report)
    artifacts = await store_results(
        tools.storage, row.txid, row.attempts, artifacts=report.artifacts, out=out, limit=limit
    )

    def commit() -> None:
        with Session(tools.engine) as session, session.begin():
            published = queries.publish(
                session,
                row.txid,
                row.attempts,
                finished=datetime.now(UTC),
                summary=report.summary,
                filename=filename,
                artifacts=artifacts,
            )
        if not published:  # cancelled at the last moment
            raise JobFailedError(row.txid)

    await asyncio.to_thread(commit)
    _log.info("job %s done, attempt %d", row.txid, row.attempts)


def _fail(tools: Tools, row: JobRow, error: CoppiceError) -> None:
    failure = Failure(code=error.code, message=error.message[:8000], field=error.field and error.field[:200])
    with Session(tools.engine) as session, session.begin():
        queries.fail(session, row.txid, row.attempts, finished=datetime.now(UTC), failure=failure)
    _log.info("job %s failed, attempt %d: %s", row.txid, row.attempts, error.code)
