"""A service and a key to it: jobs are sent, listed and taken up again; each is a `Job` to wait for.

    client = Client("https://127.0.0.1:8443", key="ID:SECRET", verify=False)
    job = client.prune_keras("mnist.h5", percent=0.4)
    report = job.wait()
    job.download("pruned.h5")

The commands with `--server` use it, too, with a request of their own: `submit`. A request with `source_txid` needs no
files of the model: an earlier job's result stands for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from pydantic import ValidationError

from coppice import settings
from coppice.client.calls import Calls
from coppice.client.connection import Connection
from coppice.client.download import receive
from coppice.client.events import follow
from coppice.client.job import Job, look
from coppice.client.status import Status, read_status
from coppice.client.transfer import Upload
from coppice.errors import ParameterInvalid, ParameterMissing, ServiceUnavailable, UnknownArtifact
from coppice.records.accounts import ACCOUNTS, RESULTS
from coppice.records.call import call_of, parameters_of
from coppice.records.listed import Listed
from coppice.records.report import Account, Progress, Tell
from coppice.records.request import Part, Request, Task
from coppice.records.terms import Terms

#: The artifact that is a job's account.
ARTIFACTS = {**RESULTS, Task.PRUNE: "report", Task.QUANTIZE: "report"}


class Client(Calls):
    """One service, one key; a context manager, or used as it is.

    What is not given comes from COPPICE_SERVER, COPPICE_CLIENT_ID and COPPICE_CLIENT_SECRET. `key` is "ID:SECRET", as
    `coppice keys create` prints them; `verify=False` accepts a self-signed certificate. A call that failed by what
    passes (the connection, 429, 502, 503, 504) is made again, `retries` times at most, after ever longer pauses.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        verify: bool = True,
        retries: int = 4,
    ) -> None:
        client_id, client_secret = _pair(key, client_id, client_secret)
        service = settings.remote(server=url, client_id=client_id, client_secret=client_secret)
        if service.server is None:
            raise ParameterMissing(
                "Which service? Give its address, e.g. Client('https://127.0.0.1:8443'), or set COPPICE_SERVER.",
                field="server",
            )
        headers = {"X-IBM-Client-Id": service.client_id, "X-IBM-Client-Secret": service.client_secret}
        given = {name: value for name, value in headers.items() if value is not None}
        self._connection = Connection(service.server, headers=given, verify=verify, retries=retries)

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def job(self, txid: str) -> Job[Account]:
        """A job that was sent before, from wherever."""
        return Job(self, txid)

    def jobs(self, **filters: str) -> Iterator[Listed]:
        """One's own jobs, newest first, page after page; filters as the call takes them: state, task, since, limit."""
        after: dict[str, str] = {}
        while True:
            page = self._connection.json("GET", "jobs", params={**filters, **after})
            try:
                listed = [Listed.model_validate(job) for job in page["jobs"]]
            except ValidationError as e:
                url = self._connection.url
                raise ServiceUnavailable(f"{url} lists jobs as another version of Coppice does: {e}") from e
            yield from listed
            if "next" not in page:
                return
            after = {"after": str(page["next"])}

    def submit(
        self,
        request: Request,
        files: Mapping[Part, Path],
        *,
        terms: Terms | None = None,
        idempotency_key: str | None = None,
        progress: Tell | None = None,
    ) -> str:
        """Send a job; returns its transaction id. `files` may be empty where the request names an earlier job.

        Sent again with the same `idempotency_key`, as after an answer that was lost, it is no second job. Where none
        is given, the call has one of its own, so that it is safe to be tried again.
        """
        asked = {} if terms is None else terms.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        tell = progress or _silent
        tell(Progress(step="upload", fraction=0))
        with closing(Upload(files, tell)) as upload:
            body = self._connection.json(
                *("POST", call_of(request)),
                params={**parameters_of(request), **asked},
                files=upload.parts(request.files),
                headers=headers,
            )
        return str(body["txid"])

    def start(self, request: Request, files: Mapping[Part, Path], terms: Terms, tell: Tell) -> Job[Any]:
        """Send a job, and have it in hand."""
        return Job(self, self.submit(request, files, terms=terms, progress=tell), task=request.task)

    def cancel(self, txid: str) -> None:
        """Stop a job that has not ended."""
        self._connection.json("POST", "cancel", params={"txid": txid})

    def delete(self, txid: str) -> None:
        """Forget a job, whatever its state, with all its files."""
        self._connection.json("POST", "delete", params={"txid": txid})

    def status(self, txid: str) -> Status:
        """Where the job stands; raises the job's own error when it has failed."""
        return read_status(self._connection.json("GET", "status/", params={"txid": txid}))

    def events(self, txid: str) -> Iterator[Status]:
        """Where the job stands, each time that this changes, until it is done; raises the job's own error."""
        return follow(self._connection, txid)

    def wait(self, txid: str, progress: Tell) -> Status:
        """Look until the job is done; raises the job's own error when it fails."""
        return look(self, txid, progress)

    def account(self, txid: str, task: Task | None = None) -> Account:
        """The account of a finished job: what was done, and which artifacts there are."""
        if task is not None:
            return self._account(txid, task)
        # Of a job whose task is not known: what its account is called tells it.
        *others, last = (Task.SWEEP, Task.INSPECT, Task.PRUNE)
        for other in others:
            try:
                return self._account(txid, other)
            except UnknownArtifact:
                continue
        return self._account(txid, last)

    def _account(self, txid: str, task: Task) -> Account:
        with self._connection.answer("GET", "download", params={"txid": txid, "artifact": ARTIFACTS[task]}) as answer:
            answer.read()
        try:
            return ACCOUNTS[task].model_validate_json(answer.content)
        except ValidationError as e:
            raise ServiceUnavailable(f"{self._connection.url} gave a report of another version of Coppice: {e}") from e

    def download(self, txid: str, path: Path, *, artifact: str = "model", progress: Tell | None = None) -> None:
        """Stream one artifact of a finished job to a file, which appears when it is whole.

        After a broken connection it goes on where it was. Raises ServiceUnavailable when it breaks again and again, or
        what came is not what the service has.
        """
        given = {"txid": txid, "artifact": artifact}
        receive(
            path,
            lambda headers: self._connection.answer("GET", "download", params=given, headers=headers),
            self._connection.elsewhere,
            progress or _silent,
        )


def _pair(key: str | None, client_id: str | None, client_secret: str | None) -> tuple[str | None, str | None]:
    if key is None:
        return client_id, client_secret
    found_id, colon, secret = key.partition(":")
    if not colon or client_id is not None or client_secret is not None:
        raise ParameterInvalid("Give key='ID:SECRET', or client_id and client_secret, but not both.", field="key")
    return found_id, secret


def _silent(_: Progress) -> None:
    """Nobody listens."""
