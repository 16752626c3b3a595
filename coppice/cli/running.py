"""Where a job of a command runs, on this machine or through a service, and how its files get to their user."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from coppice.cli import local, output
from coppice.client import Client
from coppice.errors import ParameterInvalid, ParameterMissing
from coppice.records.report import Account
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
        if self.server is None:
            raise ParameterMissing("Name the service, e.g. --server https://127.0.0.1:8443.", field="server")
        return Client(self.server, client_id=self.client_id, client_secret=self.client_secret, verify=not self.insecure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Server):
    """The service that runs a job, where this machine shall not, and how it is to handle it."""

    queue: Annotated[str | None, typer.Option(help="with --server: the workers that run it, e.g. gpu")] = None
    priority: Annotated[
        str | None, typer.Option(help=f"with --server: which of your own jobs go first: {', '.join(Priority)}")
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
    """Run the job; its account, and the folder that holds its artifacts for as long as the context lasts."""
    with ExitStack() as stack:
        terms, run = service.terms(), local.run
        if service.server is not None:
            run = partial(stack.enter_context(service.client()).run, terms=terms)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coppice-")))
        with output.progress_bar() as progress:
            account = run(request, files, scratch, progress)
        if not isinstance(account, kind):
            raise TypeError(f"a {type(account).__name__} is no account of a job to {request.task}")
        yield account, scratch


def moved(account: Account, scratch: Path, folder: Path) -> str:
    """Move every artifact to the user's folder; says what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    for artifact in account.artifacts:
        shutil.move(scratch / artifact.file, folder / artifact.file)
    return f"{folder}/: {', '.join(artifact.file for artifact in account.artifacts)}"
