"""The two places of files, for tests that hold both to the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from coppice.records.request import Part
from coppice.settings import Settings
from coppice.storage import Storage, upload_key
from tests.fleet.s3 import Server, s3

T = TypeVar("T")

TXID = "7d2c7a9e-93d1-4b0c-a7a8-3f6f0d2a9b11"
KEY = upload_key(TXID, Part.MODEL, "net.h5")
BYTES = bytes(range(256)) * 50_000  # 12.8 MB: more than obstore's parts of 5 MiB


def do(task: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(task)


async def pieces(content: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]
    if then is not None:
        raise then


async def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> tuple[int, bytes]:
    download = await storage.get(key, start, end)
    return download.size, b"".join([chunk async for chunk in download.chunks])


@contextmanager
def bucket(folder: Path) -> Iterator[Server]:
    """An S3 server, with its address and keys in this process's environment, where obstore looks for them."""
    with s3(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ALLOW_HTTP", raising=False)  # the address says it
        yield server


def in_bucket(server: Server, data_dir: Path, **given: object) -> Settings:
    """Settings with a prefix of its own in the bucket."""
    return Settings(data_dir=data_dir, storage_url=f"{server.url}/{uuid4().hex}", **given)  # type: ignore[arg-type]


def objects(server: Server, settings: Settings) -> set[str]:
    """The keys of everything in the bucket under the settings' prefix, as the server has it on its disk."""
    assert settings.storage_url is not None
    root = server.objects / settings.storage_url.rpartition("/")[2]
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
