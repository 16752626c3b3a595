"""What a job can't reach, at every level of isolation: all probes from one class file, through the service.

While they are tried, another job runs and a third has ended, the service's environment holds secrets, and somebody
listens outside. What was reached is told by the answers, and by what happened to those outside.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.case import QUERY, pytorch, source
from tests.hostile.levels import LEVELS, Level, at_level
from tests.hostile.probes import GROUPS, TELL, Probe, Target, program, told
from tests.serving import DEADLINE_SECONDS, DONE, FAILED, POLL_SECONDS, Service, processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the probes know the numbers of x86_64 only"),
]

PROBES: Mapping[str, Probe] = {
    f"{group}: {name}": probe for group, each in GROUPS.items() for name, probe in each.items()
}

SECRET = f"correct-horse-{os.getpid()}"
MARK = f"coppice-mark-{os.getpid()}"

#: What an operator's shell or a fleet's configuration puts there.
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": f"{SECRET}-aws",
    "PGPASSWORD": f"{SECRET}-pg",
    "HF_TOKEN": f"{SECRET}-token",
}

#: Holds a worker for as long as all the others take.
VICTIM = """
from pathlib import Path
(Path(__file__).parents[2] / "out" / "secret").write_text("another user's model")
import time
time.sleep(10**6)
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Code of a class file that harms without a result to tell it by, and the ways in which its job may end."""

    forward: str
    codes: frozenset[str]
    says: str = ""


#: Twice forked and in a session of its own: an orphan, which nobody waits for.
DAEMON = f"""
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        for fd in range(3): os.dup2(os.open("/dev/null", 2), fd)
        os.execv("/usr/bin/sleep", ["sleep", "86399.{os.getpid()}"])
    os._exit(0)
os.wait()
raise RuntimeError("left")
"""

KILL_ALL = """
import os, signal
for number in (0, signal.SIGTERM, signal.SIGKILL):
    try:
        os.kill(-1, number)
    except OSError:
        pass
raise RuntimeError("alone")
"""

#: More than a job may have, in a kind of memory that some limits don't see, and touched.
MAPPED = """
import mmap
kept = []
for _ in range(64):
    kept.append(mmap.mmap(-1, 1 << 27, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
    kept[-1].write(bytes(1 << 27))
raise RuntimeError("8 GiB were had")
"""

NAMELESS = """
import os
kept = [os.memfd_create("x") for _ in range(64)]
for file in kept:
    os.ftruncate(file, 1 << 27)
    for _ in range(128): os.write(file, bytes(1 << 20))
raise RuntimeError("8 GiB were had")
"""

TEMPORARY = """
import os, tempfile
for folder in (tempfile.gettempdir(), "/dev/shm"):
    for number in range(64):
        with open(f"{folder}/{number}", "wb", buffering=0) as file:
            for _ in range(63): file.write(bytes(1 << 20))
raise RuntimeError("8 GiB were had")
"""

ATTACKS = {
    "a daemon left behind": Attack(forward=DAEMON, codes=frozenset({"forward_failed", "job_crashed"})),
    "a signal to everybody": Attack(forward=KILL_ALL, codes=frozenset({"forward_failed", "job_crashed"})),
    "8 GiB of shared memory": Attack(forward=MAPPED, codes=frozenset({"out_of_memory"}), says="3,072 MiB"),
    "8 GiB of memory files": Attack(forward=NAMELESS, codes=frozenset({"out_of_memory", "forward_failed"})),
    "8 GiB of temporary files": Attack(
        forward=TEMPORARY, codes=frozenset({"out_of_memory", "forward_failed", "disk_limit"})
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Who listens outside of all jobs."""

    tcp: socket.socket
    path: socket.socket
    name: socket.socket

    @property
    def reached(self) -> bool:
        """Whether anybody came."""
        for listener in (self.tcp, self.path, self.name):
            listener.setblocking(False)
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            return True
        return False


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A service of some level, after all of it was tried there."""

    level: Level
    service: Service
    target: Target
    outside: Outside
    answers: Mapping[str, str]
    ends: Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module", params=LEVELS, ids=[level.name for level in LEVELS])
def tried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    level: Level = request.param
    home = tmp_path_factory.mktemp(f"level-{level.name}") / "home"
    home.mkdir()
    with ExitStack() as stack:
        service = stack.enter_context(at_level(level, home, ENVIRONMENT))
        outside = stack.enter_context(listening(home))
        done = service.post("pt_prune", QUERY, pytorch()).json()["txid"]
        assert service.end(done)["status"] == DONE, service.status(done)
        victim = service.post("pt_prune", QUERY, pytorch(class_def=source(forward=VICTIM))).json()["txid"]
        target = aim(service, done, outside, home)
        host = Path("/tmp") / f"{MARK}-of-the-host"
        host.touch()
        stack.callback(host.unlink)
        probes = pytorch(class_def=source(top=program(PROBES, target), forward=TELL))
        sent = {"": service.post("pt_prune", QUERY, probes).json()["txid"]}
        for name, attack in ATTACKS.items():
            sent[name] = service.post("pt_prune", QUERY, pytorch(class_def=source(forward=attack.forward))).json()[
                "txid"
            ]
        ends = {name: service.end(txid) for name, txid in sent.items()}
        assert service.status(victim)["status"] > DONE, "the other job did not live through it"
        yield Tried(
            level=level,
            service=service,
            target=target,
            outside=outside,
            answers=told(PROBES, ends.pop("")["message"]),
            ends=ends,
        )


@contextmanager
def listening(home: Path) -> Iterator[Outside]:
    """Three listeners: a port, a path, and a name that needs no path."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as path,
        socket.socket(socket.AF_UNIX) as name,
    ):
        path.bind(str(home / "listener"))
        (home / "listener").chmod(0o777)
        name.bind(f"\0{home}")
        path.listen()
        name.listen()
        yield Outside(tcp=tcp, path=path, name=name)


def aim(service: Service, done: str, outside: Outside, home: Path) -> Target:
    """All that there is to reach, once the other job is well under way."""
    data = service.settings.data_dir
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := list(data.glob("work/*/boxes/*/out/secret"))):
        assert time.monotonic() < deadline, "the other job did not start"
        time.sleep(POLL_SECONDS)
    victim = found[0].parents[1]
    result = next(path for path in (data / "store" / "results" / done).rglob("*") if path.is_file())
    workers = [pid for pid in processes("coppice.jobs.worker") if _parent(pid) == service.pid]
    return Target(
        data=str(data),
        victim=str(victim),
        victim_pid=max(pid for pid in processes(str(victim)) if b"coppice.child" in _command(pid)),
        result=str(result),
        pids=(service.pid, *workers),
        port=int(service.url.rpartition(":")[2]),
        listener=outside.tcp.getsockname()[1],
        path=str(home / "listener"),
        name=str(home),
        secret=SECRET,
        mark=MARK,
    )


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _parent(pid: int) -> int:
    return int(re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


@pytest.mark.parametrize("probe", PROBES)
def test_a_job_reaches_nothing_but_its_own(tried: Tried, probe: str) -> None:
    assert tried.answers[probe] in PROBES[probe].answers


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_harms_its_own_job_alone(tried: Tried, name: str) -> None:
    end, attack = tried.ends[name], ATTACKS[name]
    assert end["status"] == FAILED
    assert end["code"] in attack.codes, end["message"]
    assert attack.says in end["message"]
    assert "8 GiB were had" not in end["message"]


def test_nobody_outside_heard_of_a_job(tried: Tried) -> None:
    assert not tried.outside.reached


def test_no_file_of_a_job_is_outside_of_its_box(tried: Tried) -> None:
    places = [Path(place, MARK) for place in ("/tmp", "/dev/shm", "/var/tmp", "/etc", "/usr/bin", "/")]
    places += tried.service.settings.data_dir.rglob(f"{MARK}*")
    assert [place for place in places if place.exists()] == []


def test_no_process_of_a_job_is_left(tried: Tried) -> None:
    deadline = time.monotonic() + 10  # of the attack's verdict; the job was given as ended before
    while (left := processes(f"86399.{os.getpid()}")) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    assert not left


def test_the_service_runs_as_before(tried: Tried) -> None:
    log = tried.service.log.read_text()
    assert "starts again" not in log
    assert "internal_error" not in log
    assert SECRET not in log
    end = tried.service.end(tried.service.post("pt_prune", QUERY, pytorch()).json()["txid"])
    assert end["status"] == DONE, end["message"]


SAFE = {name: probe for name, probe in PROBES.items() if probe.safe}


def test_without_walls_the_probes_reach_what_they_are_for(tmp_path: Path) -> None:
    """Else a probe that is merely wrong would count as held."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user reaches less")
    box, other = (tmp_path / "data" / "work" / worker / "boxes" / "one" for worker in ("cpu-0", "cpu-1"))
    for path in (box / "in/weights/small.pth", other / "in/weights/small.pth", other / "out/secret"):
        path.parent.mkdir(parents=True)
        path.write_text("a file")
    for path in (other / "request.json", tmp_path / "data/coppice.sqlite", tmp_path / "serve.log"):
        path.write_text("a file")
    (tmp_path / "data" / "store").mkdir()
    script = box / "in" / "class_def" / "small.py"
    script.parent.mkdir()
    with listening(tmp_path) as outside, subprocess.Popen(["sleep", "600"], env={"SECRET": SECRET}) as sleeper:
        target = Target(
            data=str(tmp_path / "data"),
            victim=str(other),
            victim_pid=sleeper.pid,
            result=str(other / "out/secret"),
            pids=(sleeper.pid,),
            port=outside.tcp.getsockname()[1],
            listener=outside.tcp.getsockname()[1],
            path=str(tmp_path / "listener"),
            name=str(tmp_path),
            secret=SECRET,
            mark=MARK,
        )
        script.write_text(program(SAFE, target) + "\nprint('<', *(word for word, _ in answers()), '>')")
        outcome = subprocess.run(
            [sys.executable, str(script)],
            env={"SECRET": SECRET},
            capture_output=True,
            text=True,
            check=False,
        )
        sleeper.kill()
        assert outside.reached
    assert outcome.returncode == 0, outcome.stderr
    answers = told(SAFE, outcome.stdout)
    assert {name: answer for name, answer in answers.items() if answer != "reached"} == {}
