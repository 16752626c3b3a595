"""What a job can't reach. Every attack is told apart from one that merely failed by what the outside saw."""

from __future__ import annotations

import os
import socket
import sysconfig
from pathlib import Path

import pytest

from .conftest import Lab, processes

#: What it looks like to want a file that is not for jobs: not there, or closed.
HIDDEN = {"FileNotFoundError", "PermissionError"}


def in_namespaces(lab: Lab) -> bool:
    """Whether a job has a world of its own; without, it is in the host's, and closed out of all that is not its own."""
    return lab.isolation == "bwrap"


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/home", "/var", "/opt", "/proc/1", "/proc/self"])
def test_a_job_reads_none_of_the_hosts_own_files(lab: Lab, path: str) -> None:
    there, read, listed = lab.found(
        f"tell([os.path.exists({path!r}), attempt(lambda: open({path!r})), attempt(lambda: os.listdir({path!r}))])"
    )
    if in_namespaces(lab):
        assert there is False
    assert read in HIDDEN
    assert listed in {*HIDDEN, "NotADirectoryError"}


def test_a_job_finds_no_more_than_the_way_to_python_in_the_folders_above_it(lab: Lab) -> None:
    for folder in (Path("/root"), Path("/tmp"), Path.home()):
        (probe := folder / f"coppice-{os.getpid()}").write_text("a file of the host")
        try:
            assert lab.found(f"tell(attempt(lambda: open({str(probe)!r})))") in HIDDEN
        finally:
            probe.unlink()


def test_a_job_cannot_open_another_jobs_folder(lab: Lab) -> None:
    other = lab.boxes / "other"
    (other / "out").mkdir(parents=True)
    (secret := other / "out" / "secret").write_text("another user's model")
    secret.chmod(0o666)
    found = lab.found(
        f"tell([attempt(lambda: open({str(secret)!r}).read()),"
        f" attempt(lambda: os.listdir({str(lab.boxes)!r})), box.name])"
    )
    secret.unlink()
    (other / "out").rmdir()
    other.rmdir()
    assert found[0] in HIDDEN
    assert found[1] in {f"[{found[2]!r}]", "PermissionError"}


def test_a_job_reads_its_own_upload(lab: Lab) -> None:
    assert lab.found("tell((box / 'in/model/model.h5').read_text())") == "the upload"


def test_the_environment_of_the_service_stays_outside(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPPICE_TEST_SECRET", "correct horse")
    found = lab.found(
        "import glob\n"
        "seen = [open(path, 'rb').read().decode() for path in glob.glob('/proc/*/environ')]\n"
        "tell([dict(os.environ), seen])"
    )
    assert "correct horse" not in str(found)
    assert found[0]["HOME"] == "/tmp" if in_namespaces(lab) else found[0]["HOME"].endswith("/out/.tmp")


@pytest.mark.parametrize(
    "place", ["box / 'x'", "box / 'in/model/x'", "Path('/x')", "Path('/usr/x')", "Path('/root/x')"]
)
def test_a_job_writes_only_where_its_results_go(lab: Lab, place: str) -> None:
    assert lab.found(f"tell(attempt(lambda: ({place}).write_text('x')))") in {"OSError", *HIDDEN}


def test_a_job_cannot_change_its_upload_or_the_libraries(lab: Lab) -> None:
    folders = [
        "str(box / 'in/model/model.h5')",
        repr(os.fspath(Path(sysconfig.get_paths()["purelib"]) / "torch/version.py")),
    ]
    for path in [*folders, repr(os.fspath(Path(__file__).parents[2] / "coppice" / "child.py"))]:
        assert lab.found(f"tell(attempt(lambda: open({path}, 'a')))") in {"OSError", "PermissionError"}
    assert lab.found("tell(attempt(lambda: (box / 'in/model/model.h5').unlink()))") in {"OSError", "PermissionError"}


def test_no_connection_reaches_a_listener_on_this_machine(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        found = lab.found(
            "import socket\n"
            f"tell([attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 1)),\n"
            " attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),\n"
            " attempt(lambda: socket.socket(socket.AF_UNIX)), attempt(lambda: socket.socket(socket.AF_NETLINK))])"
        )
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert found == ["PermissionError"] * 4


def test_a_job_has_nobody_to_kill_but_itself(lab: Lab) -> None:
    pids = [os.getpid(), os.getppid()]
    found = lab.found(
        f"tell([os.getpid() < 10, os.getppid() < 10, *(attempt(lambda: os.kill(pid, 0)) for pid in {pids})])"
    )
    expected = (
        [True, True, *["ProcessLookupError"] * 2] if in_namespaces(lab) else [False, False, *["PermissionError"] * 2]
    )
    assert found == expected


def test_modes_and_owners_of_files_outside_stay_as_they_are(lab: Lab) -> None:
    (victim := lab.root / "victim").write_text("the service's own")
    os.utime(victim, (1, 1))
    lab.found(
        f"victim = {str(victim)!r}\n"
        "tell([attempt(lambda: os.chmod(victim, 0)), attempt(lambda: os.utime(victim, (2, 2))),"
        " attempt(lambda: os.truncate(victim, 0)), attempt(lambda: os.setxattr(victim, 'user.x', b'x')),"
        " attempt(lambda: os.rename(victim, out / 'x')), attempt(lambda: os.link(victim, out / 'y'))])"
    )
    assert victim.read_text() == "the service's own"
    assert (victim.stat().st_mode & 0o777, victim.stat().st_mtime) == (0o644, 1)


def test_a_job_inherits_no_descriptor_but_its_three_pipes(lab: Lab) -> None:
    found = lab.found(
        "held = []\n"
        "for number in range(256):\n"
        "    if attempt(lambda: os.fstat(number)) != 'OSError': held.append(number)\n"
        "tell(held)"
    )
    assert found == [0, 1, 2]


def test_what_asyncio_and_a_clean_second_interpreter_need_is_there(lab: Lab) -> None:
    found = lab.found(
        "import asyncio, subprocess\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "second = [sys.executable, '-I', '-c', 'print(6 * 7)']\n"
        "tell(subprocess.run(second, capture_output=True, text=True, check=True).stdout)"
    )
    assert found == "42\n"


def test_jobs_of_a_root_service_are_users_of_their_own(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a job a user of its own")
    owners: list[int] = []
    for _ in range(2):
        runner = lab.runner("", warm=1)
        runner._starter.submit(lambda: None).result()
        (box,) = runner._ready
        assert box.process.stdout.readline() == b'{"ready": true}\n'
        owners.append(box.out.stat().st_uid)
        status = Path(f"/proc/{_innermost(box.folder.name)}/status").read_text()
        assert f"Uid:\t{owners[-1]}\t{owners[-1]}\t{owners[-1]}\t{owners[-1]}" in status
        assert "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
    assert 0 not in owners
    assert owners[0] != owners[1]


def _innermost(token: str) -> int:
    """The last process that was started with a box in its command line: the job itself."""
    return max(processes(token))
