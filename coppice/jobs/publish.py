"""Results on their way from a job's folder into the store. The row's commit, in `jobs.worker`, is what publishes them.

Until that commit nothing refers to the stored files, and their keys hold the attempt, so an attempt that was killed
half-way or overtaken leaves nothing that a client could see.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import string
from collections.abc import AsyncIterator
from pathlib import Path, PurePath

from coppice.errors import DiskLimit, JobCrashed, UploadTooLarge
from coppice.records.accounts import RESULTS
from coppice.records.job import StoredArtifact
from coppice.records.report import Account
from coppice.settings import MIB
from coppice.storage import Label, Storage, result_key

_CHUNK = 1 * MIB


async def store_results(
    storage: Storage, txid: str, attempt: int, *, report: Account, filename: str, out: Path, limit: int
) -> tuple[StoredArtifact, ...]:
    """Store every artifact of an attempt, the result to be downloaded as `filename`.

    Raises JobCrashed for a file that isn't there, DiskLimit for one too big, StorageUnavailable.
    """
    stored = []
    for artifact in report.artifacts:
        name = filename if artifact.name == RESULTS[report.request.task] else artifact.file
        label = Label(file=name, media_type=artifact.media_type)
        key = result_key(txid, attempt, artifact.file)
        try:
            file = await storage.put(key, _read(out / artifact.file), limit=limit, label=label)
        except OSError as e:
            raise JobCrashed(f"The job named {artifact.file} as a result and left no such file.") from e
        except UploadTooLarge as e:
            raise DiskLimit(f"{artifact.file} is larger than {limit:,} bytes, the limit of one result file.") from e
        stored.append(StoredArtifact(artifact=artifact, key=file.key, size=file.size, sha256=file.sha256))
    return tuple(stored)


def download_name(report: Account) -> str:
    """The name that the documents show for a result: `tmpqpj73q22.pt`, with the suffix of the model.

    Raises JobCrashed where there is no result: the report was written next to the user's code.
    """
    letters = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    files = {artifact.name: artifact.file for artifact in report.artifacts}
    result = RESULTS[report.request.task]
    if result not in files:
        raise JobCrashed(f"The job ended without a valid result: its report names no {result}.")
    return f"tmp{letters}{PurePath(files[result]).suffix}"


async def _read(path: Path) -> AsyncIterator[bytes]:
    # The folder was written by code that nobody trusts: a link in it must not be followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
