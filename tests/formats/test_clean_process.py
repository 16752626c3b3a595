"""A script runs in a process of its own, fresh or forked ahead: it sees nothing of ours, and may crash or hang."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coppice.formats.clean_process import CleanProcessFailed, fork_ahead, run_clean

READ = "import json, os, sys, time\njob, verdict = json.loads(sys.stdin.read())\n"
ENDS = [pytest.param(False, id="fresh"), pytest.param(True, id="forked")]


def run(folder: Path, script: str, *, forked: bool, seconds: float = 60) -> object:
    (path := folder / "script.py").write_text(READ + script)
    if forked:
        fork_ahead()
    return run_clean(str(path), {"given": 7}, folder, seconds=seconds, with_torch=forked)


@pytest.mark.parametrize("forked", ENDS)
def test_it_gives_a_verdict_and_has_nothing_of_ours(tmp_path: Path, *, forked: bool) -> None:
    told = run(
        tmp_path,
        "ours = [name for name in sys.modules if name.startswith('coppice')]\n"
        "files = os.listdir('/proc/self/fd')\n"
        "found = [json.load(open(job)), os.getpid(), ours, __name__, len(files)]\n"
        "json.dump(found, open(verdict, 'w'))",
        forked=forked,
    )
    assert isinstance(told, list)
    given, pid, ours, name, files = told
    assert (given, ours, name) == ({"given": 7}, [], "__main__")
    assert pid != os.getpid()
    assert files <= 5  # the three that every process has, the list itself, and the script at most


@pytest.mark.parametrize("forked", ENDS)
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('before'); raise ValueError('tired')", "status 1: before\nTraceback .*ValueError: tired"),
        ("sys.exit(3)", "status 3: $"),
        ("os.kill(os.getpid(), 9)", "status -9: $"),
        ("pass", "status 0: $"),
    ],
    ids=["raises", "exits", "is killed", "leaves no verdict"],
)
def test_its_end_without_a_verdict_is_told(tmp_path: Path, script: str, said: str, *, forked: bool) -> None:
    with pytest.raises(CleanProcessFailed, match=f"(?s)^it ended with {said}"):
        run(tmp_path, script, forked=forked)


@pytest.mark.parametrize("forked", ENDS)
def test_one_that_hangs_is_killed(tmp_path: Path, *, forked: bool) -> None:
    hang = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    with pytest.raises(CleanProcessFailed, match=r"it took longer than 1 s"):
        run(tmp_path, hang, forked=forked, seconds=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
