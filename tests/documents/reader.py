"""A reader of the documents: a folder with the files that they make, a shell, and patience."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.documents.printed import Calls, Key, fill
from tests.serving import DEADLINE_SECONDS, POLL_SECONDS, Service

#: Opens the reader's own Python: torch and the reader's folder, and nothing of ours.
_CLEAN = """
import sys
sys.path[:0] = [{folder!r}]
sys.path.append({packages!r})
try:
    import coppice
except ImportError:
    pass
else:
    raise SystemExit("coppice can be imported here, so this proves nothing")
"""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Types what a document prints, in the folder of the files."""

    folder: Path
    service: Service
    key: Key = field(default_factory=Key)

    def shell(self, call: str, *, txid: str | None = None, then: str = "") -> str:
        """What a printed call says; `then` is what the reader adds to the line."""
        line = fill(call, url=self.service.url, key=self.key, txid=txid)
        # The first document leaves out -k at times: the certificate is then trusted as a reader would trust it.
        trusted = {**os.environ, "CURL_CA_BUNDLE": str(self.service.settings.data_dir / "tls" / "cert.pem")}
        done = subprocess.run(
            ["bash", "-euc", f"{line.rstrip()} {then}"],
            cwd=self.folder,
            env=trusted,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answer(self, call: str, *, txid: str | None = None, then: str = "") -> dict[str, Any]:
        """The JSON that a printed call answers."""
        found: dict[str, Any] = json.loads(self.shell(call, txid=txid, then=then))
        return found

    def submit(self, calls: Calls) -> str:
        """Send the files; the transaction id."""
        answer = self.answer(calls.prune)
        assert answer["message"] == "Successfully submitted transaction."
        return str(answer["txid"])

    def poll(self, calls: Calls, txid: str) -> dict[str, Any]:
        """Ask for the status until the job has ended."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            answer = self.answer(calls.status, txid=txid)
            if int(answer["status"]) <= 0:
                return answer
            assert "filename" not in answer
            assert answer["message"]
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"no end of {txid}: {answer}")

    def python(self, code: str, **environment: str) -> str:
        """What a program of the reader's prints, in a process of its own."""
        packages = sysconfig.get_path("purelib")
        done = subprocess.run(
            # Without site: the .pth file that makes an installed coppice importable is not read there.
            [sys.executable, "-I", "-S", "-c", _CLEAN.format(folder=str(self.folder), packages=packages) + code],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
