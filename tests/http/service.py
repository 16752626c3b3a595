"""The service under test, in this process, and jobs in any state to show it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from coppice.errors import UnknownTransaction
from coppice.http.app import create_app
from coppice.jobs.desk import Desk
from coppice.jobs.keys import ANONYMOUS, Keys
from coppice.records.frameworks import Framework
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.records.report import Artifact, Failure, Progress
from coppice.records.request import Part, Request
from coppice.settings import Settings
from coppice.storage import Storage, result_key

TXID = "cf06e766-2d20-41ec-931e-0242ac170002"
TABLE = "        Layer (type)\n            Linear-1"
RESULT = b"the pruned model"
REPORT = b'{"coppice": "0"}'
SUBMITTED = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


class ShownDesk(Desk):
    """A desk that shows the jobs it was given; all else is the real one's."""

    def __init__(self, settings: Settings, jobs: Mapping[str, Job]) -> None:
        super().__init__(settings)
        self._jobs = jobs

    def job(self, txid: str, client: str) -> Job:
        job = self._jobs.get(txid)
        if job is None or job.client != client:
            raise UnknownTransaction("No transaction submitted for txid", field="txid")
        return job


def job(state: JobState, client: str = ANONYMOUS) -> Job:
    """A job as the desk shows one in that state."""
    done = state is JobState.DONE
    return Job(
        txid=TXID,
        client=client,
        request=Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "net.h5"}),
        state=state,
        submitted=SUBMITTED,
        finished=None if state in (JobState.QUEUED, JobState.RUNNING) else SUBMITTED,
        progress=Progress(step="trace", fraction=0.25, detail="conv1") if state is JobState.RUNNING else None,
        place=3 if state is JobState.QUEUED else None,
        failure=Failure(code="weights_only", message="The file holds weights only. Use save().", field="model")
        if state is JobState.FAILED
        else None,
        summary=TABLE if done else None,
        filename="tmp7d8tkpfs.h5" if done else None,
        artifacts=(stored("model", "net.h5", RESULT), stored("report", "report.json", REPORT, "application/json"))
        if done
        else (),
    )


def stored(name: str, file: str, content: bytes, media_type: str = "application/octet-stream") -> StoredArtifact:
    """What the desk says of an artifact with that content."""
    return StoredArtifact(
        artifact=Artifact(name=name, file=file, media_type=media_type),
        key=result_key(TXID, 1, file),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def keep_results(settings: Settings) -> None:
    """Put the artifacts of the finished job where the store has them."""
    for file, content in (("net.h5", RESULT), ("report.json", REPORT)):
        path = settings.data_dir / "store" / result_key(TXID, 1, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class Client:
    """Calls an app in this process, one call after the other."""

    def __init__(self, app: FastAPI, base_url: str) -> None:
        # Our own faults come as answers, as they do from a server.
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._base_url = base_url

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **given))

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)

    async def _request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url=self._base_url) as client:
            return await client.request(method, path, **given)


def served(settings: Settings, desk: Desk | None = None, *, base_url: str = "https://127.0.0.1") -> Client:
    """A client of the whole app."""
    return Client(create_app(settings, desk or Desk(settings), Keys(settings), Storage(settings)), base_url)


def uploads_of(settings: Settings) -> dict[str, bytes]:
    """Every uploaded file that the store holds, by the end of its key: `model/net.h5`."""
    root = settings.data_dir / "store" / "uploads"
    return {"/".join(file.parts[-2:]): file.read_bytes() for file in files_under(root)}


def files_under(folder: Path) -> list[Path]:
    """Every file and every empty folder."""
    return [path for path in folder.rglob("*") if not path.is_dir() or not any(path.iterdir())]
