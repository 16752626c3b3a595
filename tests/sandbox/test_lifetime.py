"""Nothing outlives its reason to live: the job, its worker, or the wish for its result."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from uuid import uuid4

import pytest

from coppice.records.report import Progress

from .conftest import PROLOGUE, Lab, processes, report

#: "Within two seconds" of a cancellation or of the worker's death.
GONE_SECONDS = 2.0

STARTED = 'print(\'{"step": "read", "fraction": 0}\', flush=True)\n'


def family(token: str) -> str:
    """A script that starts children and grandchildren, in sessions of their own, says so and stays."""
    sleeper = f"import sys, time; time.sleep(600) # {token}"
    return (
        "import subprocess, signal, time\n"
        f"sleeper = [sys.executable, '-I', '-S', '-c', {sleeper!r}]\n"
        "subprocess.Popen(sleeper); subprocess.Popen(sleeper, start_new_session=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    if os.fork() == 0: os.execv(sys.executable, sleeper)\n"
        "    os._exit(0)\n"
    )


def all_gone(pids: list[int], within: float) -> bool:
    """Whether these processes have ended within so many seconds; woken by their ends."""
    poll, handles = select.poll(), []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
        poll.register(handles[-1], select.POLLIN)
    deadline, left = time.monotonic() + within, len(handles)
    while left and (ended := poll.poll(max(0, (deadline - time.monotonic()) * 1000))):
        for handle, _ in ended:
            poll.unregister(handle)
        left -= len(ended)
    for handle in handles:
        os.close(handle)
    return left == 0


def test_a_cancelled_job_is_gone_with_all_that_it_started(lab: Lab) -> None:
    token = uuid4().hex

    async def cancel() -> tuple[list[int], float]:
        started = asyncio.Event()
        runner = lab.runner(family(token) + STARTED + "time.sleep(600)")
        job = asyncio.create_task(runner.run(lab.folder(), lambda _: started.set()))
        await asyncio.wait_for(started.wait(), 30)
        pids, cancelled = processes(token), time.monotonic()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return pids, time.monotonic() - cancelled

    pids, seconds = asyncio.run(cancel())
    assert len(pids) >= 3
    # Killed when the answer comes; a busy kernel takes a moment to end them.
    assert all_gone(pids, GONE_SECONDS - seconds)


def test_without_a_sandbox_a_cancelled_job_goes_with_its_group(lab: Lab) -> None:
    lab.isolation, token = "none", uuid4().hex

    async def cancel() -> list[int]:
        started = asyncio.Event()
        body = (
            f"import subprocess, time\nsubprocess.Popen(['sleep', '600', '{token}'][:2] + ['0.{int(token[:6], 16)}'])\n"
        )
        job = asyncio.create_task(
            lab.runner(body + STARTED + f"time.sleep(600) # {token}").run(lab.folder(), lambda _: started.set())
        )
        await asyncio.wait_for(started.wait(), 30)
        pids = processes(token) + processes(f"0.{int(token[:6], 16)}")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return pids

    pids = asyncio.run(cancel())
    assert len(pids) >= 2
    assert all_gone(pids, GONE_SECONDS)


def test_a_job_that_is_cancelled_before_it_is_ready_leaves_nothing(lab: Lab) -> None:
    token = uuid4().hex

    async def cancel() -> None:
        runner = lab.runner("", prologue=f"import time; time.sleep(600) # {token}\n")
        job = asyncio.create_task(runner.run(lab.folder(), lambda _: None))
        await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        runner.close()
        lab.opened.remove(runner)

    asyncio.run(cancel())
    assert processes(token) == []


def test_a_daemon_left_behind_is_dead_before_the_result_is_read(lab: Lab) -> None:
    token = uuid4().hex
    pids: list[int] = []

    def look(_: Progress) -> None:
        pids.extend(processes(token))
        for pid in pids:  # ignored by all but the job, which waits for it
            os.kill(pid, signal.SIGCONT)

    body = (
        f"{family(token)}# {token}\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])\n{STARTED}signal.sigwait([signal.SIGCONT])\n"
        f"(out / 'report.json').write_text({report().model_dump_json()!r})"
    )
    lab.run(body, on_progress=look)
    assert len(pids) >= 3
    assert all_gone(pids, 0)


def test_a_failing_listener_ends_its_job(lab: Lab) -> None:
    token = uuid4().hex

    def full_disk(_: Progress) -> None:
        raise RuntimeError("the database is full")

    with pytest.raises(RuntimeError, match="the database is full"):
        lab.run(family(token) + STARTED + "time.sleep(600)", on_progress=full_disk)
    assert processes(token) == []


WORKER = """
import asyncio, sys
from pathlib import Path
from coppice.sandbox import open_runner
from coppice.settings import load
runner = open_runner(load({{}}, isolation={isolation!r}, warm=2), Path(sys.argv[1]),
    command=lambda box: (sys.executable, "-I", "-c", {script!r}, str(box)))
asyncio.run(runner.run(Path(sys.argv[2]), lambda _: print("running", flush=True)))
"""


@pytest.mark.parametrize("isolation", ["sandbox", "none"])
def test_a_worker_killed_at_once_takes_its_job_and_its_waiting_boxes_along(lab: Lab, isolation: str) -> None:
    lab.runner("")  # skips where there is no bubblewrap
    token = uuid4().hex
    script = f"{PROLOGUE}{family(token) if isolation == 'sandbox' else 'import time'}\n{STARTED}time.sleep(600)"
    arguments = [str(lab.root / "worker"), str(lab.folder())]
    code = WORKER.format(isolation=lab.isolation if isolation == "sandbox" else "none", script=f"{script} # {token}")
    worker = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    with worker.stdout:
        assert worker.stdout.readline() == "running\n"
        pids = [pid for pid in processes(str(lab.root / "worker" / "boxes")) + processes(token) if pid != worker.pid]
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        # Once more: a box that was about to start finds nobody to wait for and ends by itself.
        assert all_gone(pids + processes(token), GONE_SECONDS)
    assert processes(token) == []
    assert len(pids) >= 2


def test_a_box_that_waits_is_used_replaced_and_closed(lab: Lab) -> None:
    token = uuid4().hex
    runner = lab.runner(f"tell('hello') # {token}", warm=2)
    runner._starter.submit(lambda: None).result()
    first, second = runner._ready
    with pytest.raises(Exception, match="hello"):
        asyncio.run(runner.run(lab.folder(), lambda _: None))
    runner._starter.submit(lambda: None).result()
    assert not first.folder.exists()
    assert runner._ready[0] is second
    assert len(runner._ready) == 2
    runner.close()
    lab.opened.remove(runner)
    assert processes(token) == []


def test_a_waiting_box_that_died_is_replaced(lab: Lab) -> None:
    runner = lab.runner("tell('hello')", warm=1)
    runner._starter.submit(lambda: None).result()
    (box,) = runner._ready
    box.process.kill()
    box.process.exit.result()
    with pytest.raises(Exception, match="hello"):
        asyncio.run(runner.run(lab.folder(), lambda _: None))
    assert not box.folder.exists()


def test_jobs_at_the_same_time_keep_to_themselves(lab: Lab) -> None:
    async def together() -> list[BaseException | object]:
        runner = lab.runner("(out / 'mine').write_text('x'); tell(sorted(set(os.listdir(out)) - {'.tmp'}))", warm=1)
        return await asyncio.gather(
            *(runner.run(lab.folder(), lambda _: None) for _ in range(4)), return_exceptions=True
        )

    assert [str(outcome) for outcome in asyncio.run(together())] == ['["mine"]'] * 4


BEGINNERS = """
import os, signal, sys, time
from pathlib import Path
from coppice.sandbox.box import open_box
from coppice.sandbox.opening import open_walls
from coppice.settings import load
boxes = Path(sys.argv[1])
boxes.mkdir()
walls = open_walls(load({{}}, isolation={isolation!r}), boxes).walls
for moment in range(50):
    if (pid := os.fork()) == 0:
        sleep = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)")
        open_box(walls, lambda box: (*sleep, str(box)), boxes)
        time.sleep(60)
    time.sleep(moment / 1000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("isolation", ["sandbox", "none"])
def test_a_worker_killed_while_a_box_starts_leaves_nothing(lab: Lab, isolation: str) -> None:
    lab.runner("")  # skips where there is no bubblewrap
    boxes = str(lab.root / "beginners")
    code = BEGINNERS.format(isolation=lab.isolation if isolation == "sandbox" else "none")
    subprocess.run([sys.executable, "-c", code, boxes], check=True)
    assert all_gone(processes(boxes), GONE_SECONDS)
    assert processes(boxes) == []
