"""Whose fault a failure is, and that no path of ours is in what the user reads."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coppice.errors import ParameterInvalid
from coppice.formats.pytorch.user_errors import is_out_of_memory, is_users_fault, last_line, user_traceback
from coppice.records.texts import parse_percent

USER = """
def fails():
    raise ValueError("in /srv/jobs/7/in/class_def/model.py of mine")

def calls(function):
    return function()
"""


@pytest.fixture
def user(tmp_path: Path) -> tuple[Path, dict[str, Callable[..., object]]]:
    file = tmp_path / "model.py"
    file.write_text(textwrap.dedent(USER))
    names: dict[str, Callable[..., object]] = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    return file, names


def test_a_failure_of_the_file_is_the_users(user: tuple[Path, dict[str, Callable[..., object]]]) -> None:
    file, names = user
    with pytest.raises(ValueError) as caught:
        names["fails"]()
    assert is_users_fault(caught.value, file)
    assert user_traceback(caught.value, file).splitlines() == [
        '  model.py, line 3, in fails: raise ValueError("in /srv/jobs/7/in/class_def/model.py of mine")',
        "  ValueError: in model.py of mine",
    ]


def test_a_failure_of_torch_below_the_file_is_the_users(user: tuple[Path, dict[str, Callable[..., object]]]) -> None:
    file, names = user
    with pytest.raises(RuntimeError) as caught:
        names["calls"](lambda: torch.zeros(2, 3) @ torch.zeros(2, 3))
    assert is_users_fault(caught.value, file)


def test_a_failure_of_ours_below_the_file_is_ours(user: tuple[Path, dict[str, Callable[..., object]]]) -> None:
    file, names = user
    with pytest.raises(ParameterInvalid) as caught:
        names["calls"](lambda: parse_percent("abc"))
    assert not is_users_fault(caught.value, file)


def test_a_failure_elsewhere_is_not_the_users(user: tuple[Path, dict[str, Callable[..., object]]]) -> None:
    with pytest.raises(ParameterInvalid) as caught:
        parse_percent("abc")
    assert not is_users_fault(caught.value, user[0])


def test_a_message_is_bounded() -> None:
    assert len(last_line(ValueError("x" * 100_000))) < 2000


def test_a_failed_allocation_of_torch_is_want_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("can't allocate memory"))
