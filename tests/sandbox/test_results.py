"""Files that a job offers as results: only plain files of its own, of bounded size, are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice.errors import DiskLimit, JobCrashed
from coppice.records.frameworks import Framework
from coppice.records.quantization import Precision
from coppice.records.report import Artifact, Report
from coppice.records.request import Request, Task
from coppice.records.sweep import Sweep
from coppice.sandbox.results import InvalidResult, collect

from .conftest import MIB, Lab, report


def offering(body: str, offered: Report | str) -> str:
    """A script that makes something and reports it as its result."""
    text = offered if isinstance(offered, str) else offered.model_dump_json()
    return f"{body}\n(out / 'report.json').write_text({text!r})\n"


def test_a_symbolic_link_is_not_followed(any_lab: Lab) -> None:
    (secret := any_lab.root / "secret").write_text("the service's own")
    folder = any_lab.folder()
    with pytest.raises(JobCrashed, match=r"model\.h5 can't be opened"):
        any_lab.run(offering(f"(out / 'model.h5').symlink_to({str(secret)!r})", report("model.h5")), folder=folder)
    assert not list((folder / "out").iterdir())
    assert secret.read_text() == "the service's own"


def test_a_hard_link_is_refused(any_lab: Lab) -> None:
    body = "(out / 'a').write_text('x'); os.link(out / 'a', out / 'model.h5')"
    with pytest.raises(JobCrashed, match=r"model\.h5 is linked from elsewhere"):
        any_lab.run(offering(body, report("model.h5")))


def test_the_upload_cannot_be_linked_into_the_result(lab: Lab) -> None:
    assert lab.found("tell(attempt(lambda: os.link(box / 'in/model/model.h5', out / 'x')))") == "OSError"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.mkfifo(out / 'model.h5')", "not a regular file"),
        ("(out / 'model.h5').mkdir()", "not a regular file"),
        ("pass", "can't be opened"),
        ("(out / 'model.h5').symlink_to('/dev/zero')", "can't be opened"),
        ("(out / 'model.h5').symlink_to('model.h5')", "can't be opened"),
        ("import shutil; shutil.rmtree(out / '..', ignore_errors=True)", "can't be opened"),
    ],
    ids=["pipe", "folder", "missing", "device", "loop", "emptied"],
)
def test_what_is_no_plain_file_is_refused(lab: Lab, body: str, message: str) -> None:
    with pytest.raises(JobCrashed, match=message):
        lab.run(offering(body, report("model.h5")))


@pytest.mark.parametrize("name", [".", "..", "../request.json", "/etc/passwd", "a/b", "", "a\n", "x" * 129])
def test_a_name_that_leads_elsewhere_is_refused(lab: Lab, name: str) -> None:
    forged = report("model.h5").model_dump_json().replace('"file":"model.h5"', f'"file":{_json(name)}')
    with pytest.raises(JobCrashed, match="without a valid result"):
        lab.run(offering("pass", forged))


def test_files_are_bounded_all_together(lab: Lab) -> None:
    body = "for name in 'abcde': (out / name).write_bytes(bytes(1_000_000))"
    # Seen while the job runs or after it has ended, whichever comes first.
    with pytest.raises((DiskLimit, JobCrashed), match="more than"):
        # Sparse: five times a limit that is reached only when the sizes are added up.
        lab.run(
            offering("for name in 'abcde': os.truncate(os.open(out / name, 65), (1 << 20) - 1)", report(*"abcde")),
            job_output_bytes=MIB,
        )
    assert len(lab.run(offering(body, report(*"abcde")), job_output_bytes=2 * MIB).artifacts) == 5


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html; charset=utf-7",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/javascript",
        "a/b\r\nSet-Cookie: x",
        "",
    ],
)
def test_a_media_type_that_a_browser_would_run_is_refused(lab: Lab, media_type: str) -> None:
    with pytest.raises(JobCrashed, match="media type"):
        lab.run(offering("(out / 'model.h5').write_text('x')", report("model.h5", media_type=media_type)))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, '{"coppice": 1}', "\0", '{"a":' * 10_000])
def test_a_report_that_is_none_is_refused(any_lab: Lab, text: str) -> None:
    with pytest.raises(JobCrashed, match=r"report\.json is not a report"):
        any_lab.run(offering("pass", text))


def test_a_huge_report_is_not_even_read(lab: Lab) -> None:
    with pytest.raises(JobCrashed, match=r"report\.json has 1,073,741,824 bytes"):
        lab.run("os.truncate(os.open(out / 'report.json', 65), 1 << 30)")


def test_artifacts_that_are_alike_are_refused(lab: Lab) -> None:
    twice = report("a", "b").model_copy(
        update={"artifacts": (Artifact(name="model", file="a"), Artifact(name="model", file="b"))}
    )
    with pytest.raises(JobCrashed, match="two alike"):
        lab.run(offering("(out / 'a').write_text(''); (out / 'b').write_text('')", twice))


def test_an_older_attempts_result_does_not_survive(lab: Lab) -> None:
    folder: Path = lab.folder()
    (folder / "out").mkdir()
    (folder / "out" / "model.h5").write_text("of an attempt that was killed")
    lab.run(offering("(out / 'model.h5').write_text('new')", report("model.h5")), folder=folder)
    assert (folder / "out" / "model.h5").read_text() == "new"


def _json(text: str) -> str:
    import json

    return json.dumps(text)


@pytest.mark.parametrize(
    ("precisions", "most"), [((), 3 + 2 * 2), ((Precision.FLOAT32, Precision.INT4, Precision.INT2), 3 + 2 * 2 * 3)]
)
@pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
def test_a_sweep_may_leave_so_many_files_as_its_points_make(
    tmp_path: Path, precisions: tuple[Precision, ...], most: int, more: int, taken: bool
) -> None:
    request = Request(
        framework=Framework.KERAS, task=Task.SWEEP, percents=(0.25, 0.5), percent=0.5, precisions=precisions
    )
    files = [Artifact(name=f"a{number}", file=f"a{number}") for number in range(most + more)]
    swept = Sweep(coppice="0", request=request, summary="", points=(), artifacts=tuple(files))
    (out := tmp_path / "out").mkdir()
    (out / "report.json").write_text(swept.model_dump_json())
    for artifact in files:
        (out / artifact.file).write_bytes(b"x")

    if taken:
        assert collect(out, tmp_path / "result", request=request, limit=MIB).artifacts == tuple(files)
    else:
        with pytest.raises(InvalidResult, match=f"lists {most + 1} artifacts"):
            collect(out, tmp_path / "result", request=request, limit=MIB)
