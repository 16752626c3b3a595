"""The client at a real service; and installed by itself, as who has no framework installs it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.client import Client
from coppice.errors import ParameterInvalid, UnknownLayer, UnknownTransaction
from coppice.records.plan import Plan
from coppice.settings import Settings
from tests.serving import Service, serving

ROOT = Path(__file__).parents[2]
MODEL = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3)
        self.fc = nn.Linear(10 * 36, 4)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x), 1))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("service") / "data", port=0)) as running:
        yield running


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {**_named("conv", nn.Conv2d(1, 10, 3)), **_named("fc", nn.Linear(360, 4))}


def _named(name: str, layer: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for key, value in layer.state_dict().items()}


def _bytes(state: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_a_plan_of_one_job_cuts_the_weights_of_another(
    service: Service, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    others = {name: tensor.flip(0) for name, tensor in weights.items()}
    (tmp_path / "model.py").write_text(MODEL)
    model: dict[str, Any] = {
        "class_def": tmp_path / "model.py",
        "model_name": "Small",
        "input_size": (1, 8, 8),
        "progress": False,
    }
    with Client(service.url, verify=False) as client:
        first = client.prune_pytorch(weights, percent=0.4, **model)
        first.wait(progress=False)
        (file,) = first.download(tmp_path / "plan.json", "plan", progress=False)
        plan = Plan.load(file).keeping("conv", [1, 2])
        job = client.prune_pytorch(others, plan=plan, **model)
        assert job.wait(progress=False).criterion == "plan"
        (there,) = job.download(tmp_path / "there.pt", "state_dict", progress=False)
        with pytest.raises(ParameterInvalid, match="plan says which channels go, and percent would say it, too"):
            client.prune_pytorch(others, plan=plan, percent=0.5, **model)

        wrong = tmp_path / "wrong.json"
        wrong.write_text('{"kept": {"conv.weight": {"0": [99]}}}')
        with pytest.raises(ParameterInvalid, match=r"conv.weight has 10 positions along axis 0"):
            client.prune_pytorch(others, plan=wrong, **model).wait(progress=False)
    wrong.write_text("no plan")
    parts = {"weights": ("w.pt", _bytes(others)), "class_def": ("model.py", MODEL.encode())}
    query = {"model_name": "Small", "input_size": "1,8,8"}
    answer = service.post("pt_prune", query, {**parts, "plan": ("wrong.json", wrong.read_bytes())})
    ended = service.end(answer.json()["txid"])
    assert (ended["status"], ended["code"]) == (-1, "parameter_invalid")
    assert ended["message"].startswith("wrong.json is not a plan of schema version 1")

    plan.save(file)
    torch.save(others, tmp_path / "others.pt")
    flags = f"--class-def {tmp_path / 'model.py'} --model-name Small --input-size 1,8,8"
    command = f"prune {tmp_path / 'others.pt'} --plan {file} {flags} --out {tmp_path / 'here'}"
    typed = CliRunner().invoke(app, command.split())
    assert typed.exit_code == 0, typed.output
    here = tmp_path / "here" / "others_pruned_state_dict.pth"
    for path in (there, here):
        assert torch.equal(torch.load(path, weights_only=True)["conv.weight"], others["conv.weight"][[1, 2]])


def test_a_job_from_a_state_dict_to_the_files_of_its_result(
    service: Service, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    steps = list[str]()
    with Client(service.url, verify=False) as client:
        job = client.prune_pytorch(
            weights,
            percent=0.4,
            class_def=MODEL.encode(),
            model_name="Small",
            input_size=(1, 8, 8),
            progress=lambda now: steps.append(now.step),
        )
        report = job.wait(progress=lambda now: steps.append(now.step))
        assert steps[0] == "upload"
        assert report.groups[0].removed == 4
        (file,) = job.download(tmp_path / "pruned", "state_dict", progress=False)
        assert torch.load(file, weights_only=True)["conv.weight"].shape == (6, 1, 3, 3)
        assert [status.number for status in client.job(job.txid).events()][-1] == 0
        assert client.job(job.txid).account() == report
        assert next(client.jobs(state="done")).txid == job.txid

        # Its result is a model to go on with.
        smaller = client.quantize_pytorch(job, precision="float16").wait(progress=False)
        assert smaller.quantized is not None
        job.delete()
        with pytest.raises(UnknownTransaction):
            job.status()


def test_a_job_that_fails_raises_its_own_error(service: Service, weights: dict[str, torch.Tensor]) -> None:
    with Client(service.url, verify=False) as client:
        job = client.prune_pytorch(
            weights, percent=0.4, class_def=MODEL.encode(), model_name="Small", input_size="1,8,8", omit=["nothere"]
        )
        with pytest.raises(UnknownLayer, match="nothere"):
            job.wait(progress=False)


PROGRAM = """
import json, sys
import coppice
client = coppice.Client(sys.argv[1], verify=False)
job = client.prune_pytorch("w.pth", percent=0.4, class_def="net.py", model_name="Small", input_size=(1, 8, 8))
report = job.wait()
print(json.dumps([report.groups[0].removed, str(job.download("got.pt")[0]), report._repr_html_()[:29]]))
try:
    coppice.prune
except coppice.CoppiceError as e:
    print(e.code)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the wheel of this tree, without any extra."""
    folder = tmp_path_factory.mktemp("base")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(_tree(folder))]
    subprocess.run(wheel, check=True, stdin=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    (built,) = folder.glob("coppice-*.whl")
    install = [str(folder / "env" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(built)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no package index here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder / "env" / "bin"


def _tree(folder: Path) -> Path:
    """What a wheel is made of, apart: building leaves folders beside its sources."""
    tree = folder / "tree"
    tree.mkdir()
    for name in ("coppice", "pyproject.toml", "LICENSE", "README.md"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tree)], check=True)
    return tree


def test_the_base_install_sends_jobs(
    base: Path, service: Service, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "w.pth")
    (tmp_path / "net.py").write_text(MODEL)
    listed = subprocess.run([base / "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    assert not {one["name"] for one in json.loads(listed)} & {"torch", "numpy", "h5py", "scipy"}

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "quantize" in run(base / "coppice", "--help").stdout
    model = ("w.pth", "--class-def", "net.py", "--model-name", "Small", "--input-size", "1,8,8", "--percent", "0.4")
    there = run(base / "coppice", "prune", *model, "-o", "out.pt", "--server", service.url, "--insecure")
    assert there.returncode == 0, there.stderr
    assert (tmp_path / "out.pt").stat().st_size

    here = run(base / "coppice", "prune", *model, "-o", "here.pt")
    assert here.returncode == 69
    assert "coppice[torch]" in here.stderr

    done = run(base / "python", "-c", PROGRAM, service.url)
    assert done.returncode == 0, done.stderr
    result, code = done.stdout.splitlines()
    assert json.loads(result) == [4, "got.pt", '<div class="coppice-report">\n']
    assert code == "not_installed"
