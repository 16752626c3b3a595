"""The two jobs of the documents: what a user has, what a user types, what a user does with the result."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model of the documents; `URL`, `TXID` and `FILE` stand in the calls for what is not known before."""

    title: str
    programs: Path  # of the user: train.py, retrain.py
    python: Path  # that has the user's framework
    submit: tuple[str, ...]
    status: tuple[str, ...]
    download: tuple[str, ...]

    def call(self, template: tuple[str, ...], **values: str) -> list[str]:
        """A curl command with its blanks filled in."""
        filled = list(template)
        for blank, value in values.items():
            filled = [word.replace(blank, value) for word in filled]
        return filled

    def trained(self, cache: Path, data: Path) -> Path:
        """The folder of the user's files; trained the first time, and again when the user's programs change."""
        programs = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(self.programs.glob("*.py"))))
        folder = cache / self.programs.name
        stamp = folder / "programs.sha256"
        if not stamp.exists() or stamp.read_text() != programs.hexdigest():
            folder.mkdir(parents=True, exist_ok=True)
            self._run("train.py", str(data), str(folder))
            if (self.programs / "model.py").exists():
                (folder / "model.py").write_bytes((self.programs / "model.py").read_bytes())
            stamp.write_text(programs.hexdigest())
        return folder

    def accuracy(self, folder: Path) -> float:
        """What the model reached before the cut."""
        return float(json.loads((folder / "trained.json").read_text())["accuracy"])

    def retrain(self, data: Path, file: Path) -> tuple[float, float]:
        """Load the result where the user's framework is, and train it on: accuracy right after the cut, and then."""
        found = json.loads(self._run("retrain.py", str(data), str(file)).splitlines()[-1])
        return float(found["cut"]), float(found["retrained"])

    def _run(self, program: str, *arguments: str) -> str:
        """A program of the user, in a process of its own with nothing of ours on its path."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        found = subprocess.run(
            [str(self.python), str(self.programs / program), *arguments],
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=self.programs,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            sys.exit(f"{self.programs.name}/{program} ended with {found.returncode}:\n{found.stderr[-3000:]}")
        return found.stdout


#: As printed in getting-started.md, but for the host, `-k` where the document forgot it, and `;type=` after the file,
#: which curl itself refuses.
KERAS = Job(
    title="Keras, percent=0.4",
    programs=HERE / "user_keras",
    python=ROOT / ".envs" / "tf212" / "bin" / "python",
    submit=(
        *("-k", "-X", "POST", "URL/api/tf_prune?percent=0.4"),
        *("-H", "accept: application/json", "-H", "Content-Type: multipart/form-data"),
        *("-F", "model=@mnist_base.h5"),
    ),
    status=("-k", "-X", "GET", "URL/api/status/?txid=TXID", "-H", "accept: application/json"),
    download=(
        *("-k", "-X", "GET", "URL/api/download?txid=TXID", "-H", "accept: application/json"),
        *("--output", "FILE"),
    ),
)

#: As printed in api-hub-tutorial.md, but for the host and `--insecure`; no keys are asked for on this machine.
_GATEWAY = (
    *("--header", "X-IBM-Client-Id: CLIENT_ID", "--header", "X-IBM-Client-Secret: CLIENT_SECRET"),
    *("--header", "accept: application/json"),
)
PYTORCH = Job(
    title="PyTorch, percent=0.5, fc1 and fc2 omitted",
    programs=HERE / "user_torch",
    python=Path(sys.executable),
    submit=(
        *("--insecure", "--request", "POST"),
        "--url",
        "URL/edgeai/run/api/pt_prune?percent=0.5&ommitted=fc1,fc2&input_size=1,28,28&model_name=Net",
        *_GATEWAY,
        *("--header", "content-type: multipart/form-data; boundary=---011000010111000001101001"),
        *("--form", "weights=@mnist_cnn.pth", "--form", "dataset=@train_loader.pth", "--form", "class_def=@model.py"),
    ),
    status=("--insecure", "--request", "GET", "--url", "URL/edgeai/run/api/status/?txid=TXID", *_GATEWAY),
    download=(
        *("--insecure", "--request", "GET", "--url", "URL/edgeai/run/api/download?txid=TXID", *_GATEWAY),
        *("--output", "FILE"),
    ),
)
