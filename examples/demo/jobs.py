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
    programs: Path  # of the user: train.py and what it needs
    python: Path  # that has the user's framework
    submit: tuple[str, ...]
    status: tuple[str, ...]
    download: tuple[str, ...]
    retrain: tuple[str, ...]  # a program of examples/, and its arguments
    quantize: tuple[str, ...]  # of the result that `TXID` names
    runtime: Path  # that has what the quantized file runs in
    run: tuple[str, ...]  # a program of examples/, and its arguments

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
            self._run(self.programs / "train.py", str(data), str(folder), at=self.programs)
            if (self.programs / "model.py").exists():
                (folder / "model.py").write_bytes((self.programs / "model.py").read_bytes())
            stamp.write_text(programs.hexdigest())
        return folder

    def accuracy(self, folder: Path) -> float:
        """What the model reached before the cut."""
        return float(json.loads((folder / "trained.json").read_text())["accuracy"])

    def retrained(self, folder: Path, file: str) -> tuple[float, float]:
        """Train the result on where the user's framework is: the accuracy of the file as it came, and then."""
        told = self._told(self.retrain, folder, file, self.python)
        return told[0], told[-1]

    def lowered(self, folder: Path, file: str) -> float:
        """The accuracy of a quantized result in the runtime of its user."""
        return self._told(self.run, folder, file, self.runtime)[0]

    def _told(self, template: tuple[str, ...], folder: Path, file: str, python: Path) -> list[float]:
        program, *arguments = self.call(template, FILE=file)
        lines = self._run(ROOT / "examples" / program, *arguments, at=folder, python=python).splitlines()
        return [float(json.loads(line)["accuracy"]) for line in lines if line.startswith("{")]

    def _run(self, program: Path, *arguments: str, at: Path, python: Path | None = None) -> str:
        """A program of the user, in a process of its own with nothing of ours on its path."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        found = subprocess.run(
            [str(python or self.python), str(program), *arguments],
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=at,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            sys.exit(f"{program.parent.name}/{program.name} ended with {found.returncode}:\n{found.stderr[-3000:]}")
        return found.stdout


#: As printed in getting-started.md, but for the host, `-k` where the document forgot it, and `;type=` after the file,
#: which curl itself refuses; and with samples, of which the document knows nothing.
KERAS = Job(
    title="Keras, percent=0.4",
    programs=HERE / "user_keras",
    python=ROOT / ".envs" / "tf212" / "bin" / "python",
    submit=(
        *("-k", "-X", "POST", "URL/api/tf_prune?percent=0.4"),
        *("-H", "accept: application/json", "-H", "Content-Type: multipart/form-data"),
        *("-F", "model=@mnist_base.h5", "-F", "dataset=@train.npz"),
    ),
    status=("-k", "-X", "GET", "URL/api/status/?txid=TXID", "-H", "accept: application/json"),
    download=(
        *("-k", "-X", "GET", "URL/api/download?txid=TXID", "-H", "accept: application/json"),
        *("--output", "FILE"),
    ),
    retrain=(
        *("retrain_keras.py", "--dense", "mnist_base.h5", "--pruned", "FILE"),
        *("--data", "train.npz", "--test", "test.npz", "-o", "mnist_pruned.h5"),
    ),
    quantize=(
        *("-k", "-X", "POST", "URL/api/tf_quantize?precision=int8&source_txid=TXID"),
        *("-H", "accept: application/json", "-F", "dataset=@train.npz"),
    ),
    runtime=ROOT / ".envs" / "litert" / "bin" / "python",
    run=("run_tflite.py", "--model", "FILE", "--test", "test.npz"),
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
    retrain=(
        *("retrain.py", "--dense", "mnist_cnn.pth", "--pruned", "FILE", "--class-def", "model.py"),
        *("--model-name", "Net", "--data", "train_loader.pth", "--test", "test_loader.pth"),
        *("-o", "pruned_trained_cnn.pt"),
    ),
    quantize=(
        *("--insecure", "--request", "POST"),
        *("--url", "URL/edgeai/run/api/pt_quantize?precision=int8&source_txid=TXID", *_GATEWAY),
        *("--form", "dataset=@train_loader.pth"),
    ),
    runtime=Path(sys.executable),
    run=("run_onnx.py", "--model", "FILE", "--test", "test_loader.pth"),
)
