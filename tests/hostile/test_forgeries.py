"""Class files that lie: forged progress, reports and failures, and words that do harm where they are shown."""

from __future__ import annotations

import pytest

from tests.hostile.case import Case, End, running

pytestmark = pytest.mark.slow

FORGED_LINES = """
import os
for fd in range(256):
    for line in ('{"ready": true}', '{"step": "done", "fraction": 1.0}', '{"status": 0, "filename": "model.pt"}'):
        try:
            os.write(fd, line.encode() + b"\\n")
        except OSError:
            break
import time
time.sleep(10**6)
"""

#: A perfect report of a job that was never done, with one artifact, and an end that looks like success.
FORGED_REPORT = """
import os
from pathlib import Path
from coppice.records.report import Artifact, Check, Cost, Report, Verification
from coppice.records.request import Request
job = Path(__file__).parents[2]
cost = Cost(parameters=1, bytes=4, macs=1)
report = Report(
    coppice="0", request=Request.model_validate_json((job / "request.json").read_bytes()),
    verification=Verification(check=Check.EXACT), before=cost, after=cost, summary="forged",
    artifacts=(Artifact(name="model", file="model.pt"),),
)
(job / "out" / "report.json").write_text(report.model_dump_json())
{make}
os._exit(0)
"""


#: Where a job's results go, for code in the class file.
OUT = "import os\nfrom pathlib import Path\nout = Path(__file__).parents[2] / 'out'\n"


def case(code: str, *says: str, forward: str) -> Case:
    return Case(code=code, says=says, files=running(forward=forward))


def forged_report(make: str, *, old: str = "", new: str = "") -> str:
    """Code that leaves the report, changed in one place, beside what `make` leaves."""
    assert old in FORGED_REPORT
    return FORGED_REPORT.replace(old, new).format(make=make)


def forged_failure(text: str, status: int) -> str:
    return f"{OUT}(out / 'failure.json').write_text({text!r})\nos._exit({status})"


CASES = {
    "forged lines on every descriptor": case("job_crashed", "other than progress", forward=FORGED_LINES),
    "a forged report with a link to /etc/passwd": case(
        "job_crashed",
        "without a valid result: model.pt can't be opened",
        forward=FORGED_REPORT.format(make='os.symlink("/etc/passwd", job / "out" / "model.pt")'),
    ),
    "a forged report of a pipe": case(
        "job_crashed",
        "model.pt is not a regular file",
        forward=FORGED_REPORT.format(make='os.mkfifo(job / "out" / "model.pt")'),
    ),
    "a forged report of a second name for a file": case(
        "job_crashed",
        "model.pt is linked from elsewhere",
        forward=FORGED_REPORT.format(
            make='(job / "out" / "a").write_text("x"); os.link(job / "out" / "a", job / "out" / "model.pt")'
        ),
    ),
    "a forged report of a folder": case(
        "job_crashed",
        "model.pt is not a regular file",
        forward=FORGED_REPORT.format(make='(job / "out" / "model.pt").mkdir()'),
    ),
    "a forged report of a link to a device": case(
        "job_crashed",
        "model.pt can't be opened",
        forward=FORGED_REPORT.format(make='os.symlink("/dev/zero", job / "out" / "model.pt")'),
    ),
    "a forged report of a hole of a terabyte": case(
        "forward_failed",
        "File too large",
        forward=FORGED_REPORT.format(make='os.truncate(os.open(job / "out" / "model.pt", 65), 1 << 40)'),
    ),
    "a forged report that is a link": case(
        "job_crashed",
        "report.json can't be opened",
        forward=FORGED_REPORT.format(
            make='(job / "out" / "report.json").rename(job / "out" / "a");'
            ' os.symlink(job / "out" / "a", job / "out" / "report.json")'
        ),
    ),
    "a forged report of a file that is not there": case(
        "job_crashed", "model.pt can't be opened", forward=FORGED_REPORT.format(make="")
    ),
    "a forged failure of the service": case(
        "job_crashed",
        "status 7",
        forward="import os\nfrom pathlib import Path\n"
        "(Path(__file__).parents[2] / 'out' / 'failure.json').write_text("
        '\'{"code": "key_invalid", "message": "Send your key to evil.example"}\')\nos._exit(7)',
    ),
    "a report without a model": case(
        "job_crashed",
        "its report names no model",
        forward=forged_report("", old='(Artifact(name="model", file="model.pt"),)', new="()"),
    ),
    "a report of 15 million characters": case(
        "job_crashed",
        "summary has 15,000,000 characters",
        forward=forged_report("", old='"forged"', new='"x" * 15_000_000'),
    ),
    "a failure in half a character": case(
        "job_crashed", "status 4", forward=forged_failure('{"code": "user_code_failed", "message": "\\ud800"}', 4)
    ),
    "a failure with control characters": case(
        "user_code_failed",
        "[2Jcleared",
        forward=forged_failure('{"code": "user_code_failed", "message": "\\u001b[2Jcleared\\u0000"}', 4),
    ),
    "an exception in half a character": case(
        "forward_failed", "RuntimeError: ? is no character", forward="raise RuntimeError('\\ud800 is no character')"
    ),
    "an exception that can't be shown": case(
        "forward_failed",
        "ValueError: not to be shown",
        forward="class Mute(Exception):\n    def __str__(self): raise ValueError('not to be shown')\nraise Mute",
    ),
    "lines that look like the service's log": case(
        "job_crashed",
        "status 3",
        forward="import os\nos.write(2, b'2026-11-22 05:00:00 serve ERROR forged line\\n')\nos._exit(3)",
    ),
    "a broken interpreter": case(
        "job_crashed",
        "TypeError: 'NoneType' object is not callable",
        forward="import pathlib\npathlib.Path.write_text = None\nraise RuntimeError",
    ),
    "a folder that can't be written to": case(
        "job_crashed", "PermissionError", forward=f"{OUT}out.chmod(0)\nraise RuntimeError"
    ),
    "a forward that returns nothing": case("forward_failed", "there is no tensor", forward="return None"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_lie_ends_as_a_failed_job(case: Case, refused: End) -> None:
    assert refused.message.replace("\n", "").isprintable()
