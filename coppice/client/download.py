"""Receiving a file from a service: under another name until it is whole, again from where a connection broke.

Not here: the calls themselves (`client`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import httpx

from coppice.client.transfer import Meter
from coppice.errors import DatabaseUnavailable, ServiceUnavailable, StorageUnavailable
from coppice.records.report import Tell

#: Breaks in a row, without a byte between them, after which a download is given up: about half a minute.
_MOST_BREAKS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0

#: What passes: a service that starts again, or whose database or store does.
_BROKEN = (ServiceUnavailable, StorageUnavailable, DatabaseUnavailable)
_CHUNK_BYTES = 1024 * 1024
_SHA256 = re.compile(r'"([0-9a-f]{64})"')

#: Asks for the file with these headers.
Ask: TypeAlias = Callable[[dict[str, str]], AbstractContextManager[httpx.Response]]
#: Asks another server, by the address that the service gave.
AskElsewhere: TypeAlias = Callable[[str], AbstractContextManager[httpx.Response]]


def receive(path: Path, ask: Ask, ask_elsewhere: AskElsewhere, tell: Tell) -> None:
    """Have a file at `path`, or what stopped it raised and nothing under that name.

    What came before a break stays beside it, with the tag of the file that it is of: the next call, of whatever
    process, goes on from there if the service still has that file.
    """
    place, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.tag")
    keep = False
    try:
        with place.open("r+b" if place.exists() else "w+b") as file:
            receipt = _Receipt(file, path.name, tag, tell)
            try:
                receipt.take_all(ask, ask_elsewhere)
            except (*_BROKEN, KeyboardInterrupt):
                keep = receipt.resumable
                raise
        place.replace(path)
    finally:
        if not keep:
            place.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)


class _Receipt:
    """What has come so far, and of which file it is."""

    def __init__(self, file: BinaryIO, name: str, tag: Path, tell: Tell) -> None:
        self._file, self._name, self._kept, self._meter = file, name, tag, Meter("download", tell)
        self._hash = hashlib.sha256()
        self._size = 0
        self._tag = tag.read_text("ascii", "replace") if tag.is_file() else ""
        self._checked = False
        if not _SHA256.fullmatch(self._tag):
            self._file.truncate()
        while chunk := self._file.read(_CHUNK_BYTES):
            self._hash.update(chunk)
            self._size += len(chunk)

    @property
    def resumable(self) -> bool:
        """Whether another call could go on from here."""
        return bool(self._size and _SHA256.fullmatch(self._tag)) and not self._checked

    def take_all(self, ask: Ask, ask_elsewhere: AskElsewhere) -> None:
        """Take the file, with as many calls as it needs."""
        breaks, pause = 0, _FIRST_PAUSE
        if self._tag == f'"{self._hash.hexdigest()}"':
            return  # stopped just before it had its name
        while True:
            before = self._size
            try:
                self._take(ask, ask_elsewhere)
                break
            except _BROKEN:
                breaks, pause = (0, _FIRST_PAUSE) if self._size > before else (breaks + 1, pause)
                # What never began is refused, not broken.
                if not self._size or breaks == _MOST_BREAKS:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._check()

    def _take(self, ask: Ask, ask_elsewhere: AskElsewhere) -> None:
        with ask(self._headers()) as answer:
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                self._start_again(answer.headers.get("ETag", ""))
            if "Location" not in answer.headers:
                self._write(answer)
                return
            address = answer.headers["Location"]
        with ask_elsewhere(address) as answer:
            self._write(answer)

    def _headers(self) -> dict[str, str]:
        # Packed on its way, it would have another size and other ranges.
        whole = {"Accept-Encoding": "identity"}
        if not self._size or not _SHA256.fullmatch(self._tag):
            return whole
        return {**whole, "Range": f"bytes={self._size}-", "If-Range": self._tag}

    def _start_again(self, tag: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash, self._size, self._tag = hashlib.sha256(), 0, tag
        self._kept.write_text(tag, "ascii", "replace")

    def _write(self, answer: httpx.Response) -> None:
        total = self._size + int(answer.headers.get("Content-Length", 0))
        for chunk in answer.iter_bytes():
            self._file.write(chunk)
            self._hash.update(chunk)
            self._size += len(chunk)
            self._meter.at(self._size, total, self._name)

    def _check(self) -> None:
        self._checked = True
        told = _SHA256.fullmatch(self._tag)
        if told is not None and told[1] != self._hash.hexdigest():
            raise ServiceUnavailable(
                f"The file came with the sha-256 {self._hash.hexdigest()}, and the service has it as {told[1]}. "
                "Something on the way changes it. Try again."
            )
