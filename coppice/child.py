"""What runs inside the sandbox: `python -m coppice.child FOLDER`.

It says `{"ready": true}` once everything heavy is imported, waits for the line `go`, reads FOLDER/request.json and the
uploads in FOLDER/in/<part>/, runs the pipeline, and leaves FOLDER/out/report.json or FOLDER/out/failure.json. Progress
is a JSON record a line on the descriptor that was standard output; what the user's code prints goes to standard error.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TextIO

from coppice.errors import CoppiceError, DiskLimit, ForwardFailed, InternalError, ModelInvalid, OutOfMemory
from coppice.records.report import Failure, Progress
from coppice.records.request import Part, Request

GO = "go"
#: Bounds of a Failure.
MAX_MESSAGE, MAX_FIELD = 8000, 200
_NO_ROOM = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


def main(folder: Path) -> int:
    """Wait for the word, run the job, and return its exit status."""
    channel = _take_channel()
    # After the channel is safe, since imports may print; before the word, since they take seconds.
    _warm_up()
    print(json.dumps({"ready": True}), file=channel, flush=True)
    if sys.stdin.readline().strip() != GO:
        return 0  # nobody wants this process any more
    _close_input()
    try:
        _run(folder, channel)
    except BaseException as e:  # noqa: BLE001  whatever the user's code raises ends here as data
        return _fail(folder, e)
    return 0


def _take_channel() -> TextIO:
    """Keep standard output for the protocol, and let everybody else's printing go to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return channel


def _warm_up() -> None:
    """Import and run once whatever costs seconds the first time: the wait is over before there is a job."""
    import torch

    from coppice.formats.clean_process import fork_ahead

    torch.set_num_threads(1)
    fork_ahead()
    from coppice import rules, tasks  # noqa: F401
    from coppice.formats import OPENERS
    from coppice.tracing import Network, trace

    for module in {entry.partition(":")[0] for entry in OPENERS.values()}:
        with suppress(ModuleNotFoundError):  # a format that needs an extra is refused when it is asked for
            import_module(module)
    tiny = torch.nn.Conv2d(1, 1, 1).eval()
    trace(Network(module=tiny, inputs=(torch.zeros(1, 1, 2, 2),), layers=()), rules.rule_of)


def _close_input() -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123  a descriptor is wanted, not a file
        os.dup2(nothing.fileno(), 0)


def _run(folder: Path, channel: TextIO) -> None:
    from coppice import tasks

    def tell(progress: Progress) -> None:
        print(progress.model_dump_json(), file=channel, flush=True)

    request = Request.model_validate_json((folder / "request.json").read_bytes())
    out = folder / "out"
    out.mkdir(exist_ok=True)
    # The sandbox's /tmp is memory and small; what is unpacked of a model may be as large as the model.
    with tempfile.TemporaryDirectory(dir=out, prefix=".tmp-") as scratch:
        tempfile.tempdir = os.environ["TMPDIR"] = scratch
        account = tasks.TASKS[request.task](request, _files(folder, request), out, tell)
    (out / "report.json").write_text(account.model_dump_json(indent=2))


def _files(folder: Path, request: Request) -> dict[Part, Path]:
    return {part: folder / "in" / part / Path(name).name for part, name in request.files.items()}


def _fail(folder: Path, error: BaseException) -> int:
    known = _as_known(folder, error)
    if isinstance(known, InternalError):
        traceback.print_exception(error)  # for the operator; the user is told what concerns the user
    field = None if known.field is None else known.field[:MAX_FIELD]
    failure = Failure(
        code=known.code, message=_encodable(known.message)[:MAX_MESSAGE], field=field and _encodable(field)
    )
    out = folder / "out"
    out.mkdir(exist_ok=True)
    (out / "failure.json").write_text(failure.model_dump_json())
    return known.exit_code


def _encodable(text: str) -> str:
    """The text without halves of characters, which a user's names and messages may hold and no file takes."""
    return text.encode("utf-8", "replace").decode()


def _as_known(folder: Path, error: BaseException) -> CoppiceError:
    from coppice.formats.pytorch.user_errors import is_out_of_memory, is_users_fault, last_line, user_traceback

    if isinstance(error, CoppiceError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(f"The job asked for more memory than it may use{_limit()}. {last_line(error)}")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return DiskLimit(
            f"The job wrote more than it may, to one file or in all (job_output_bytes). {last_line(error)}"
        )
    for file in (folder / "in" / Part.CLASS_DEF).glob("*"):
        if is_users_fault(error, file):
            return ForwardFailed(f"The model's code failed:\n{user_traceback(error, file)}", field=Part.CLASS_DEF)
    if "surrogates not allowed" in str(error):  # of Python's text encoders, and of pydantic
        return ModelInvalid("A name in the model holds half a character, which no file can. Rename the layer.")
    return InternalError(f"Something of Coppice failed, not of the model: {last_line(error)}")


def _limit() -> str:
    bound, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if bound == resource.RLIM_INFINITY else f" ({bound // (1024 * 1024):,} MiB of address space)"


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    # The user's code may have left threads and exit hooks behind, which would hold the job or change its status.
    os._exit(status)
