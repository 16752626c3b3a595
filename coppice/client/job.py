"""A job that was sent: waited for, followed, cancelled, its files taken home."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from coppice.client.bar import telling
from coppice.client.status import Status
from coppice.errors import CoppiceError, TimeLimit
from coppice.records.accounts import RESULTS
from coppice.records.report import Account, Report, Tell
from coppice.records.request import Task

if TYPE_CHECKING:
    from coppice.client.client import Client

#: Seconds between two looks at a job: short at first, for the small models; then gentle to the server.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0

#: What a job gives: a report, an inspection or a sweep.
Given = TypeVar("Given", bound=Account, covariant=True)

#: How progress is told: to a function; True: by a bar, where somebody can see one; False: not.
Told = Tell | bool


class Job(Generic[Given]):
    """One job of a service."""

    def __init__(self, client: Client, txid: str, *, task: Task | None = None) -> None:
        self.txid = txid
        self._client, self._task = client, task
        self._account: Account | None = None

    def __repr__(self) -> str:
        return f"Job({self.txid!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows, as it stands when the cell is run: how far it is, its account, or why it failed."""
        head = f"<p>Job <code>{escape(self.txid)}</code>: "
        try:
            status = self.status()
            if status.done:
                return self.account()._repr_html_()
        except CoppiceError as e:
            return f"{head}{escape(e.message)}</p>"
        now = status.now
        bar = f'<progress value="{now.fraction:.3f}" aria-label="{escape(now.step)}"></progress>'
        return f"{head}{escape(now.step)} {bar} {escape(now.detail)}</p>"

    def status(self) -> Status:
        """Where it stands; raises the job's own error when it has failed."""
        return self._client.status(self.txid)

    def events(self) -> Iterator[Status]:
        """Where it stands, each time that this changes, until it is done; raises the job's own error."""
        return self._client.events(self.txid)

    def wait(self, *, progress: Told = True, timeout: float | None = None) -> Given:
        """Wait until it is done; its report, inspection or sweep. Raises the job's own error when it fails.

        After `timeout` seconds it raises TimeLimit, and the job goes on; wait again, or cancel it.
        """
        with telling(progress) as tell:
            look(self._client, self.txid, tell, timeout=timeout)
        return self.account()

    def account(self) -> Given:
        """What was done, of a job that is done."""
        if self._account is None:
            self._account = self._client.account(self.txid, self._task)
        return cast(Given, self._account)  # which the call that made the job says

    def cancel(self) -> None:
        """Stop it where it has not ended."""
        self._client.cancel(self.txid)

    def delete(self) -> None:
        """Have the service forget it, with all its files."""
        self._client.delete(self.txid)

    def download(self, to: Path | str = ".", artifact: str | None = None, *, progress: Told = True) -> list[Path]:
        """Take home one artifact, or into a folder all of them; the files that were written.

        `to` is a folder where it is one already, or its name has no suffix; else the name of the file, and without
        `artifact` that is the result: the pruned, or the quantized model. What broke off goes on where it was, and a
        file appears when all of it is there and is what the service has (SHA-256).
        """
        account, place = self.account(), Path(to)
        folder = place.is_dir() or not place.suffix
        if artifact is None and folder:
            wanted = {one.name: place / one.file for one in account.artifacts}
        else:
            name = artifact or _result(account)
            files = {one.name: one.file for one in account.artifacts}
            # The service refuses a name that it does not know, and lists those that it does.
            wanted = {name: place / files.get(name, name) if folder else place}
        with telling(progress) as tell:
            for name, path in wanted.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._client.download(self.txid, path, artifact=name, progress=tell)
        return list(wanted.values())


def look(client: Client, txid: str, tell: Tell, *, timeout: float | None = None) -> Status:
    """Look until a job is done; raises the job's own error when it fails, TimeLimit where it takes too long."""
    end, pause = None if timeout is None else time.monotonic() + timeout, FIRST_PAUSE
    while not (status := client.status(txid)).done:
        tell(status.now)
        if end is not None and time.monotonic() + pause > end:
            raise TimeLimit(f"{txid} is not done after {timeout:g} s. It goes on: wait again, or cancel it.")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return status


def _result(account: Account) -> str:
    """The artifact that was asked for: of a cut that was quantized, too, the smaller file."""
    if isinstance(account, Report) and account.request.quantization:
        return RESULTS[Task.QUANTIZE]
    return RESULTS[account.request.task]
