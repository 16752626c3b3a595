"""Where a job of a command runs, on this machine or through a service, and how its files get to their user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from coppice import settings
from coppice.cli import local, progress
from coppice.cli.completion import one_of
from coppice.cli.stopping import stoppable
from coppice.client import Client
from coppice.errors import CoppiceError, OutputNotWritten, ParameterInvalid, ParameterMissing
from coppice.records.report import Account, Tell
from coppice.records.request import Part, Request
from coppice.records.terms import READERS, Priority, Terms

Kind = TypeVar("Kind", bound=Account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A service, and the key to it."""

    server: Annotated[str | None, typer.Option(help="send the job to this service, e.g. https://127.0.0.1:8443")] = None
    # Read from the environment too: what is on a command line can be seen by every user of the machine.
    client_id: Annotated[str | None, typer.Option(envvar="COPPICE_CLIENT_ID", help="id of the API key")] = None
    client_secret: Annotated[str | None, typer.Option(envvar="COPPICE_CLIENT_SECRET", help="secret of the API key")] = (
        None
    )
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="accept a self-signed certificate")] = False

    def client(self) -> Client:
        """A client of it; raises ParameterMissing where none is named."""
        server = self.server or settings.remote().server
        if server is None:
            told = "Name the service: --server https://127.0.0.1:8443, or set COPPICE_SERVER."
            raise ParameterMissing(told, field="server")
        return Client(server, client_id=self.client_id, client_secret=self.client_secret, verify=not self.insecure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Server):
    """The service that runs a job, where this machine shall not, and how it is to handle it."""

    queue: Annotated[str | None, typer.Option(help="with --server: the workers that run it, e.g. gpu")] = None
    priority: Annotated[
        str | None,
        typer.Option(
            help=f"with --server: which of your own jobs go first: {', '.join(Priority)}",
            autocompletion=one_of(Priority),
        ),
    ] = None
    time_limit: Annotated[str | None, typer.Option(help="with --server: stop the job after so many seconds")] = None
    webhook: Annotated[str | None, typer.Option(help="with --server: address that is told of the end")] = None

    def terms(self) -> Terms:
        """How it is to handle the job; raises ParameterInvalid where no service is named."""
        asked = {name: READERS[name](text) for name in READERS if (text := getattr(self, name)) is not None}
        for name in asked:
            if self.server is None:
                flag = f"--{name.replace('_', '-')}"
                raise ParameterInvalid(f"{flag} is for a service: add --server, or leave it out.", field=name)
        return Terms.model_validate(asked)


@contextmanager
def done(
    kind: type[Kind], request: Request, files: Mapping[Part, Path], service: Service
) -> Iterator[tuple[Kind, Path]]:
    """Run the job; its account, and the folder that holds its artifacts for as long as the context lasts.

    Ctrl-C ends it, at a service too.
    """
    with ExitStack() as stack:
        stack.enter_context(stoppable())
        terms, run = service.terms(), local.run
        if service.server is not None:
            run = partial(_there, stack.enter_context(service.client()), terms)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coppice-")))
        with progress.told() as tell:
            account = run(request, files, scratch, tell)
        if not isinstance(account, kind):
            raise TypeError(f"a {type(account).__name__} is no account of a job to {request.task}")
        yield account, scratch


def moved(account: Account, scratch: Path, folder: Path) -> str:
    """Move every artifact to the user's folder; says what was written. Raises OutputNotWritten, which says so, too."""
    files = [artifact.file for artifact in account.artifacts]
    for number, file in enumerate(files):
        try:
            move(scratch / file, folder / file)
        except OutputNotWritten as e:
            there = f" Written to {folder}: {', '.join(files[:number])}." if number else ""
            raise OutputNotWritten(f"{e.message}{there}", field=e.field) from e
    return f"{folder}/: {', '.join(files)}"


def move(file: Path, to: Path) -> None:
    """Move a file, which appears under its name when all of it is there; raises OutputNotWritten."""
    partial_file = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        with writing(to):
            to.parent.mkdir(parents=True, exist_ok=True)
            # The scratch folder may be on another disk, from where a file is copied.
            shutil.move(file, partial_file)
            partial_file.replace(to)
    finally:
        with suppress(OSError):
            partial_file.unlink(missing_ok=True)


@contextmanager
def writing(to: Path, field: str = "out") -> Iterator[None]:
    """Tell of a place of the user's that can't be written: raises OutputNotWritten."""
    try:
        yield
    except OSError as e:
        raise OutputNotWritten(f"{to} can't be written: {e.strerror or e}.", field=field) from e


def _there(
    client: Client, terms: Terms, request: Request, files: Mapping[Part, Path], out: Path, tell: Tell
) -> Account:
    """Send the job, wait for it, take home its artifacts; raises KeyboardInterrupt that says what became of it."""
    txid = client.submit(request, files, terms=terms, progress=tell)
    try:
        client.wait(txid, tell)
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(_cancelled(client, txid)) from stopped
    try:
        account = client.account(txid, request.task)
        for artifact in account.artifacts:
            client.download(txid, out / artifact.file, artifact=artifact.name, progress=tell)
    except KeyboardInterrupt as stopped:
        told = f"Stopped. Job {txid} is done; its files are there still: coppice jobs download {txid} -o FOLDER"
        raise KeyboardInterrupt(told) from stopped
    return account


def _cancelled(client: Client, txid: str) -> str:
    try:
        client.cancel(txid)
    except CoppiceError as e:
        return f"Stopped, but job {txid} could not be cancelled: {e.message}"
    return f"Stopped, and cancelled job {txid} at the service. Nothing was written."
