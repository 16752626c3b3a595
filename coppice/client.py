"""A client of the service: the calls of the HTTP contract, typed, with the service's failures as our own errors.

Used by the commands with `--server`; usable by itself:

    with Client("https://127.0.0.1:8443", verify=False) as client:
        account = client.run(request, files, out, print)

A request with `source_txid` needs no files of the model: an earlier job's result stands for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import ValidationError

from coppice.download import receive
from coppice.errors import BY_CODE, CoppiceError, JobCrashed, ServiceUnavailable
from coppice.records.accounts import ACCOUNTS, RESULTS
from coppice.records.call import call_of, parameters_of
from coppice.records.report import Account, Progress
from coppice.records.request import Part, Request, Task
from coppice.records.terms import Terms

#: Seconds between two looks at a job: short at first, for the small models; then gentle to the server.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0

#: An upload waits for the server's disk, so writes have no limit of their own.
_TIMEOUT = httpx.Timeout(60, write=None)

#: The artifact that is a job's account.
ARTIFACTS = {**RESULTS, Task.PRUNE: "report", Task.QUANTIZE: "report"}

#: The status numbers of the contract.
DONE, QUEUED, RUNNING = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One answer of `/api/status/`."""

    number: int
    message: str
    progress: Progress | None = None


class Client:
    """One service, one key."""

    def __init__(
        self, url: str, *, client_id: str | None = None, client_secret: str | None = None, verify: bool = True
    ) -> None:
        headers = {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": client_secret}
        self._url, self._verify = url, verify
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/api/",
            headers={name: value for name, value in headers.items() if value is not None},
            # A connection a call: one that was kept may be closed by a service that starts again, just as it is used.
            transport=httpx.HTTPTransport(verify=verify, retries=3, limits=httpx.Limits(max_keepalive_connections=0)),
            timeout=_TIMEOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def run(
        self,
        request: Request,
        files: Mapping[Part, Path],
        out: Path,
        progress: Callable[[Progress], None],
        *,
        terms: Terms | None = None,
    ) -> Account:
        """Submit, wait, download every artifact into `out`: the pipeline's own signature, elsewhere."""
        progress(Progress(step="upload", fraction=0))
        txid = self.submit(request, files, terms=terms)
        self.wait(txid, progress)
        account = self.account(txid, request.task)
        for artifact in account.artifacts:
            progress(Progress(step="download", fraction=1, detail=artifact.file))
            self.download(txid, out / artifact.file, artifact=artifact.name)
        return account

    def submit(
        self,
        request: Request,
        files: Mapping[Part, Path],
        *,
        terms: Terms | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send a job; returns its transaction id. `files` may be empty where the request names an earlier job.

        Sent again with the same `idempotency_key`, as after an answer that was lost, it is no second job.
        """
        asked = {} if terms is None else terms.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        with ExitStack() as stack:
            parts = [
                (part.value, (request.files[part], stack.enter_context(path.open("rb"))))
                for part, path in files.items()
            ]
            parameters = {**parameters_of(request), **asked}
            body = self._json("POST", call_of(request), params=parameters, files=parts, headers=headers)
        return str(body["txid"])

    def jobs(self, **filters: str) -> Iterator[dict[str, Any]]:
        """One's own jobs, newest first, page after page; filters as the call takes them."""
        after: dict[str, str] = {}
        while True:
            page = self._json("GET", "jobs", params={**filters, **after})
            yield from page["jobs"]
            if "next" not in page:
                return
            after = {"after": str(page["next"])}

    def cancel(self, txid: str) -> None:
        """Stop a job that has not ended."""
        self._json("POST", "cancel", params={"txid": txid})

    def delete(self, txid: str) -> None:
        """Forget a job, whatever its state, with all its files."""
        self._json("POST", "delete", params={"txid": txid})

    def status(self, txid: str) -> Status:
        """Where the job stands; raises the job's own error when it has failed."""
        body = self._json("GET", "status/", params={"txid": txid})
        number = int(body["status"])
        if number < 0:
            raise _error(body, JobCrashed)
        progress = body.get("progress")
        return Status(
            number=number,
            message=str(body.get("message", "")),
            progress=Progress.model_validate(progress) if progress else None,
        )

    def wait(self, txid: str, progress: Callable[[Progress], None]) -> Status:
        """Look until the job is done; raises the job's own error when it fails."""
        pause = FIRST_PAUSE
        while (status := self.status(txid)).number != DONE:
            step = "queued" if status.number == QUEUED else "running"
            progress(status.progress or Progress(step=step, fraction=0, detail=status.message[:500]))
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return status

    def account(self, txid: str, task: Task = Task.PRUNE) -> Account:
        """The account of a finished job: what was done, and which artifacts there are."""
        with self._answer("GET", "download", params={"txid": txid, "artifact": ARTIFACTS[task]}) as answer:
            answer.read()
            try:
                return ACCOUNTS[task].model_validate_json(answer.content)
            except ValidationError as e:
                raise ServiceUnavailable(f"{self._url} gave a report of another version of Coppice: {e}") from e

    def download(self, txid: str, path: Path, *, artifact: str = "model") -> None:
        """Stream one artifact of a finished job to a file, which appears when it is whole.

        After a broken connection it goes on where it was. Raises ServiceUnavailable when it breaks again and again, or
        what came is not what the service has.
        """
        given = {"txid": txid, "artifact": artifact}
        receive(path, lambda headers: self._answer("GET", "download", params=given, headers=headers), self._elsewhere)

    def _json(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        with self._answer(method, path, **given) as answer:
            answer.read()
            return _body(answer)

    @contextmanager
    def _elsewhere(self, address: str) -> Iterator[httpx.Response]:
        """Another server's answer, which is shown no key of ours."""
        try:
            with httpx.stream("GET", address, verify=self._verify, timeout=_TIMEOUT) as answer:
                if answer.is_error:
                    raise ServiceUnavailable(
                        f"{answer.url.host}, where the service keeps its files, answered {answer.status_code}."
                    )
                yield answer
        except httpx.HTTPError as e:
            raise ServiceUnavailable(f"{httpx.URL(address).host}, where the service keeps its files: {e}.") from e

    @contextmanager
    def _answer(self, method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
        """One call; raises the service's failure as the error that it was there."""
        try:
            with self._http.stream(method, path, **given) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(_body(answer), ServiceUnavailable)
                yield answer
        except httpx.HTTPError as e:
            hint = " For a self-signed certificate use --insecure." if "CERTIFICATE_VERIFY" in str(e) else ""
            raise ServiceUnavailable(f"{self._url} can't be reached: {e}.{hint}") from e


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError as e:
        raise ServiceUnavailable(
            f"{answer.request.url.copy_with(query=None)} answered {answer.status_code} and no JSON. Is it Coppice?"
        ) from e
    if not isinstance(body, dict):
        raise ServiceUnavailable(f"{answer.request.url.copy_with(query=None)} answered no JSON object. Is it Coppice?")
    return body


def _error(body: Mapping[str, Any], otherwise: type[CoppiceError]) -> CoppiceError:
    kind = BY_CODE.get(str(body.get("code")), otherwise)
    return kind(str(body.get("message", "no message")), field=body.get("field"))
