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
_SHA256 = re.compile(r'"([0-9a-f]{64})"')

#: Asks for the file with these headers.
Ask: TypeAlias = Callable[[dict[str, str]], AbstractContextManager[httpx.Response]]
#: Asks another server, by the address that the service gave.
AskElsewhere: TypeAlias = Callable[[str], AbstractContextManager[httpx.Response]]


def receive(path: Path, ask: Ask, ask_elsewhere: AskElsewhere, tell: Tell) -> None:
    """Have a file at `path`, or what stopped it raised and nothing there."""
    place = path.with_name(f"{path.name}.part")
    try:
        with place.open("wb") as file:
            _Receipt(file, path.name, tell).take_all(ask, ask_elsewhere)
        place.replace(path)
    finally:
        place.unlink(missing_ok=True)


class _Receipt:
    """What has come so far, and of which file it is."""

    def __init__(self, file: BinaryIO, name: str, tell: Tell) -> None:
        self._file, self._name, self._meter = file, name, Meter("download", tell)
        self._hash = hashlib.sha256()
        self._size = 0
        self._tag = ""

    def take_all(self, ask: Ask, ask_elsewhere: AskElsewhere) -> None:
        """Take the file, with as many calls as it needs."""
        breaks, pause = 0, _FIRST_PAUSE
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

    def _write(self, answer: httpx.Response) -> None:
        total = self._size + int(answer.headers.get("Content-Length", 0))
        for chunk in answer.iter_bytes():
            self._file.write(chunk)
            self._hash.update(chunk)
            self._size += len(chunk)
            self._meter.at(self._size, total, self._name)

    def _check(self) -> None:
        told = _SHA256.fullmatch(self._tag)
        if told is not None and told[1] != self._hash.hexdigest():
            raise ServiceUnavailable(
                f"The file came with the sha-256 {self._hash.hexdigest()}, and the service has it as {told[1]}. "
                "Something on the way changes it. Try again."
            )
