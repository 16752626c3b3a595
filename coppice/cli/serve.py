"""`coppice serve`: the service. Its flags are the settings: one each, made from their table."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer
from pydantic import ValidationError

from coppice.cli import output
from coppice.errors import ParameterInvalid
from coppice.settings import Settings, load

#: Settings whose flag is not simply their name.
FLAGS = {
    "data_dir": "--data",
    "tls": "--tls/--no-tls",
    "keys_required": "--keys/--no-keys",
}


def flag(setting: str) -> str:
    """The flag of a setting: `data_dir` -> `--data`."""
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))


def read_settings(**given: object) -> Settings:
    """Settings from flags and environment; raises ParameterInvalid that names what is wrong."""
    try:
        return load(None, **given)
    except ValidationError as e:
        first = e.errors()[0]
        name = str(first["loc"][0])
        raise ParameterInvalid(
            f"setting {name} ({flag(name)}, COPPICE_{name.upper()}): {first['msg']}, got {first['input']!r}.",
            field=name,
        ) from e


def serve(**given: object) -> None:
    """Run the service: an HTTP server and its workers, until it is told to stop."""
    with output.reported():
        if given.pop("no_worker", False):
            given["workers"] = 0
        settings = read_settings(**given)
        # Imported here because the other commands have no use for the server's packages, an extra of the install.
        from coppice.jobs import supervisor

        raise typer.Exit(supervisor.serve(settings))


def parameters() -> list[inspect.Parameter]:
    """One keyword for each setting; None means that it was not given, so that the environment is looked at."""
    parameters = []
    for name, field in Settings.model_fields.items():
        option = typer.Option(flag(name), help=f"{field.description} [COPPICE_{name.upper()}; {field.default}]")
        kind = field.annotation if field.annotation is not None else str
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )
        )
    return parameters


_NO_WORKER = inspect.Parameter(
    "no_worker",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--no-worker", help="the HTTP side alone, as --workers 0")],
)

# Typer reads a command's flags from its signature.
serve.__signature__ = inspect.Signature([*parameters(), _NO_WORKER])  # type: ignore[attr-defined]  # a documented attribute of functions
