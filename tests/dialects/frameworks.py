"""The user's frameworks as the tests see them: a process per environment that answers `framework_side.py` commands."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ENVS = HERE.parent.parent / ".envs"

#: One thread: these tests share a small machine with the service that they test.
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "torch",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class FrameworkError(AssertionError):
    """The framework refused: its own traceback."""


class Framework:
    """One environment of `scripts/dialects`, its interpreter started on first use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return ENVS / self.name / "bin" / "python"

    @property
    def ready(self) -> bool:
        """Whether the environment was set up to its end."""
        return (ENVS / self.name / "stamp").is_file()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run one command there; raises FrameworkError with the traceback from there."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"command": command, **arguments}, default=str) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise FrameworkError(f"{self.name} died in {command} {arguments}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise FrameworkError(f"{self.name}: {command} {arguments}\n{answer['error']}")
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
            environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
            self._process = subprocess.Popen(
                [self.python, HERE / "framework_side.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                env={**environment, **QUIET},
            )
        return self._process

    def _last_words(self) -> str:
        assert self._stderr is not None
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-2000:]

    def close(self) -> None:
        """End the interpreter, if it was started."""
        if self._process is not None:
            self._process.communicate()  # closes its stdin, which ends it, and waits
        if self._stderr is not None:
            self._stderr.close()
