"""Class files that attack the service from inside a job: what they reach for, use up, forge or destroy."""

from __future__ import annotations

import atexit
import io
import socket
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from tests.hostile.case import QUERY, SETTINGS, Case, End, running, saved, weights
from tests.serving import DONE, Service

pytestmark = pytest.mark.slow

#: Accepts at once, so that whoever gets through is seen afterwards.
LISTENER = socket.create_server(("127.0.0.1", 0))
atexit.register(LISTENER.close)

READ = """
found = []
for path in ("/etc/passwd", "/etc/shadow", "/root/.bashrc", "/proc/1/environ", "/proc/self/environ", "/var/log"):
    try:
        found.append(open(path).read())
    except OSError as e:
        found.append(type(e).__name__)
raise RuntimeError(f"read: {found}")
"""

CONNECT = f"""
import socket
found = []
for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, 1)):
    try:
        reached = socket.socket(family, kind)
        reached.connect(("127.0.0.1", {LISTENER.getsockname()[1]}))
        found.append("connected")
    except OSError as e:
        found.append(type(e).__name__)
raise RuntimeError(f"sockets: {{found}}")
"""

LOOT = """
LOOT = b"nothing found"
for path in ("/etc/passwd", "/etc/shadow", "/proc/1/root/etc/passwd", "/proc/self/cwd/../etc/passwd"):
    try:
        LOOT = open(path, "rb").read()
    except OSError:
        pass
"""

FORK = """
import os, time
try:
    while True:
        os.fork()
except OSError:
    time.sleep(10**6)
"""

#: Waits after it, so that whoever watches the disk has the time to see it.
MANY_FILES = """
import time
from pathlib import Path
out = Path(__file__).parents[2] / "out"
for number in range(12_000):
    (out / str(number)).touch()
time.sleep(10**6)
"""

DEEP_FOLDERS = """
import os, time
from pathlib import Path
os.chdir(Path(__file__).parents[2] / "out")
for _ in range(500):
    os.mkdir("d")
    os.chdir("d")
os.chmod(".", 0)
time.sleep(10**6)
"""

THREADS = """
import threading
go = threading.Event()
for _ in range(10**4):
    threading.Thread(target=go.wait, daemon=True).start()
"""

FLOOD = """
import os
line = b"all work and no play " * 50_000
for _ in range(400):
    os.write(1, line)
    os.write(2, line)
raise RuntimeError("after 800 MB of output")
"""

DESTROY = """
import os, shutil
from pathlib import Path
job = Path(__file__).parents[2]
found = []
for action in (
    lambda: Path(__file__).write_text("x = 1"),
    lambda: (job / "in" / "weights" / "small.pth").unlink(),
    lambda: (job / "request.json").rename(job / "out" / "request.json"),
    lambda: shutil.rmtree(job / "in"),
    lambda: os.chmod(__file__, 0o777),
):
    try:
        action()
        found.append("done")
    except OSError as e:
        found.append(type(e).__name__)
raise RuntimeError(f"destroyed: {found}; left: {sorted(p.name for p in (job / 'in').rglob('*'))}")
"""

NEIGHBOURS = """
import os
from pathlib import Path
job = Path(__file__).parents[2]
data = job.parents[3]
way = {job, *job.parents}
strange = [
    path for folder, folders, files in os.walk(data) for path in (Path(folder, name) for name in (*folders, *files))
    if path not in way and not path.is_relative_to(job)
]
raise RuntimeError(f"neighbours: {len(strange)}, folders: {len(os.listdir(job.parent))}")
"""

DEEP = "def deeper(n):\n    return deeper(n + 1) + 1\ndeeper(0)"

#: Past Python's own check, down the C stack.
DEEP_IN_C = """
import json, sys
sys.setrecursionlimit(10**9)
nested = []
for _ in range(10**6):
    nested = [nested]
repr(nested)
json.dumps(nested)
"""


def with_hidden(state: bytes) -> bytes:
    return saved({**torch.load(io.BytesIO(state)), "hidden": torch.tensor(list(b"nothing found"))})


def case(code: str, *says: str, top: str = "", forward: str = "") -> Case:
    return Case(code=code, says=says, files=running(top=top, forward=forward))


CASES = {
    # First what takes its whole time limit, so that the other workers see to the rest meanwhile.
    "an endless wait": case(
        "time_limit", f"{SETTINGS.job_seconds} s (wall clock)", "job_seconds", top="import time; time.sleep(10**6)"
    ),
    "a fork bomb": case("time_limit", f"{SETTINGS.job_seconds} s (wall clock)", forward=FORK),
    "an infinite loop": case(
        "time_limit", f"{SETTINGS.job_cpu_seconds} s of CPU time", "job_cpu_seconds", forward="while True: pass"
    ),
    "a loop that ignores signals": case(
        "time_limit",
        f"{SETTINGS.job_cpu_seconds} s of CPU time",
        top="import signal\nfor n in set(range(1, 32)) - {9, 19}: signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
    ),
    "100 GB in one piece": case("out_of_memory", "3,072 MiB", forward="torch.ones(25 * 10**9)"),
    "100 GB in small pieces": case(
        "out_of_memory", "3,072 MiB", forward="kept = [torch.ones(10**7) for _ in range(2500)]"
    ),
    "100 GB of Python's own": case("out_of_memory", "3,072 MiB", forward="bytearray(10**11)"),
    "an exit that looks like success": case("job_crashed", "without a valid result", top="import os; os._exit(0)"),
    "an exit that looks like another failure": case("job_crashed", "status 7", top="import os; os._exit(7)"),
    "the files of the host": case("forward_failed", f"read: {['FileNotFoundError'] * 6}", forward=READ),
    "a connection": case("forward_failed", f"sockets: {['PermissionError'] * 3}", forward=CONNECT),
    "a flood of output": case("forward_failed", "after 800 MB of output", forward=FLOOD),
    "a huge file": case(
        "disk_limit",
        "64 MiB in one file",
        "job_output_bytes",
        forward="from pathlib import Path\n(Path(__file__).parents[2] / 'out' / 'big').write_bytes(bytes(10**8))",
    ),
    "files without end": case("disk_limit", "10,000 files in all", "job_output_bytes", forward=MANY_FILES),
    "folders without end": case("disk_limit", "10,000 files in all", "job_output_bytes", forward=DEEP_FOLDERS),
    "descriptors without end": case(
        "job_crashed",  # there is none left to write the reason to
        "Too many open files",
        forward="import os\nkept = [os.open('/dev/null', 0) for _ in range(10**6)]",
    ),
    "threads without end": case("forward_failed", "can't start new thread", forward=THREADS),
    "an attack on its own upload": case(
        "forward_failed",
        f"destroyed: {['OSError'] * 5}",
        "left: ['class_def', 'small.pth', 'small.py', 'weights']",
        forward=DESTROY,
    ),
    "the folders of other jobs": case("forward_failed", "neighbours: 0, folders: 1", forward=NEIGHBOURS),
    "deep recursion": case("forward_failed", "RecursionError: maximum recursion depth exceeded", forward=DEEP),
    "deep recursion in C": case("job_crashed", "SIGSEGV (a memory access fault)", forward=DEEP_IN_C),
    "a fault by ctypes": case(
        "job_crashed", "SIGSEGV (a memory access fault)", forward="import ctypes; ctypes.string_at(0)"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_attack_ends_as_a_failed_job(case: Case, refused: End) -> None:
    assert refused.http == 200


def test_a_model_that_would_smuggle_a_file_out_of_the_host_has_nothing_to_smuggle(service: Service) -> None:
    smuggler = running(
        top=LOOT, constructor="self.loot = LOOT\nself.register_buffer('hidden', torch.tensor(list(LOOT)))"
    )
    files = {**smuggler(), "weights": ("small.pth", with_hidden(weights()))}
    txid = service.post("pt_prune", QUERY, files).json()["txid"]
    assert service.end(txid)["status"] == DONE
    results = list((service.settings.data_dir / "store" / "results" / txid).rglob("*.*"))
    assert len(results) > 3
    for result in results:
        assert b"root:x:0:0" not in result.read_bytes()
    pair = service.client.get("/api/download", params={"txid": txid})
    assert b"nothing found" in pair.content  # the attribute did come back, and this is what was in it


def test_no_job_reached_the_listener(sent: Mapping[str, Any], service: Service) -> None:
    for http, answer in sent.values():
        if http == 200:
            service.end(answer["txid"])
    LISTENER.setblocking(False)
    with pytest.raises(BlockingIOError):
        LISTENER.accept()
