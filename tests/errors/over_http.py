"""Ways to meet errors of the service: code -> a call, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from coppice.records.job import JobState
from coppice.settings import Settings
from tests.http.service import TXID, Client, ShownDesk, job, keep_results, served

MODEL = {"model": ("net.h5", b"model")}


def _showing(settings: Settings, state: JobState) -> Client:
    keep_results(settings)
    return served(settings, ShownDesk(settings, {TXID: job(state)}))


def _twice(settings: Settings) -> httpx.Response:
    client, key = served(settings), {"Idempotency-Key": '"one"'}
    client.post("/api/tf_prune?percent=0.4", files=MODEL, headers=key)
    return client.post("/api/tf_prune?percent=0.5", files=MODEL, headers=key)


def _one_too_many(settings: Settings) -> httpx.Response:
    client = served(settings.model_copy(update={"jobs_per_client": 1}))
    client.post("/api/tf_prune?percent=0.4", files=MODEL)
    return client.post("/api/tf_prune?percent=0.5", files=MODEL)


def _post(settings: Settings, **told: object) -> httpx.Response:
    return served(settings).post("/api/tf_prune?percent=0.4", **{"files": MODEL, **told})


OVER_HTTP: Mapping[str, Callable[[Settings], httpx.Response]] = {
    "body_invalid": lambda settings: _post(
        settings, files=None, content=b"--b\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}
    ),
    "cross_site": lambda settings: _post(settings, headers={"Sec-Fetch-Site": "cross-site"}),
    "fields_mask_invalid": lambda settings: _post(settings, headers={"X-Fields": "txid,"}),
    "idempotency_conflict": _twice,
    "key_invalid": lambda settings: served(settings.model_copy(update={"host": "0.0.0.0"})).get("/api/status/?txid=x"),
    "method_not_allowed": lambda settings: served(settings).get("/api/tf_prune"),
    "quota_exceeded": _one_too_many,
    "range_impossible": lambda settings: _showing(settings, JobState.DONE).get(
        f"/api/download?txid={TXID}", headers={"Range": "bytes=5000-6000"}
    ),
    "result_expired": lambda settings: _showing(settings, JobState.EXPIRED).get(f"/api/download?txid={TXID}"),
    "result_not_ready": lambda settings: _showing(settings, JobState.QUEUED).get(f"/api/download?txid={TXID}"),
    "unknown_address": lambda settings: served(settings).get("/api/stauts"),
    "unknown_artifact": lambda settings: _showing(settings, JobState.DONE).get(
        f"/api/download?txid={TXID}&artifact=onnx"
    ),
    "unknown_transaction": lambda settings: served(settings).get(f"/api/status/?txid={TXID}"),
    "unsupported_media_type": lambda settings: _post(settings, files={"model": ("net.exe", b"MZ")}),
    "upload_too_large": lambda settings: _post(
        settings.model_copy(update={"max_upload_bytes": 10}), files={"model": ("net.h5", bytes(4096))}
    ),
}
