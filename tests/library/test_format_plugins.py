"""A format of another package, found by its entry point: for the library, the command line, and a service's sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow

_MAIN = "import sys; from coppice.cli import main; sys.exit(main())"
_LIBRARY = """
import io, sys, coppice, numpy
result = coppice.prune(sys.argv[1], percent=0.5)
with numpy.load(io.BytesIO(result.model)) as arrays:
    print({name: arrays[name].shape for name in arrays.files}, result.report.verification.check)
"""
#: A service with a worker and its sandbox, in a process that was started after the package was installed.
_SERVICE = """
import sys
from pathlib import Path
from coppice.settings import Settings
from tests.serving import serving
model, data, out = map(Path, sys.argv[1:])
with serving(Settings(data_dir=data, port=0, tls=False)) as service:
    said = service.client.get("/openapi.json").json()["paths"]["/api/onnx_prune"]["post"]
    criterion = next(one for one in said["parameters"] if one["name"] == "criterion")
    form = said["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["model"]
    print("last" in criterion["schema"]["enum"], ".mlp" in form["x-suffixes"])
    query = {"percent": "0.5", "criterion": "last"}
    txid = service.post("onnx_prune", query, {"model": (model.name, model.read_bytes())}).json()["txid"]
    print(service.end(txid))
    out.write_bytes(service.client.get("/api/download", params={"txid": txid}).content)
"""
_CRITERIA = """
import numpy as np
def last(group, evidence):
    return np.arange(group.size, dtype=float)
"""


def _install(site: Path) -> tuple[Path, ...]:
    """A package that brings the format `.mlp` and the criterion `last`, as an installer lays it down."""
    info, package = site / "coppice_toys-1.0.dist-info", site / "coppice_toys"
    info.mkdir()
    package.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coppice_toys\nVersion: 1.0\n")
    entries = ["[coppice.formats]", "mlp = coppice_toys.toy_format:open_mlp", "h5 = coppice_toys.toy_format:open_mlp"]
    entries += ["[coppice.criteria]", "last = coppice_toys:last"]
    (info / "entry_points.txt").write_text("\n".join([*entries, ""]))
    (package / "__init__.py").write_text(_CRITERIA)
    shutil.copy(HERE / "toy_format.py", package)
    return info, package


@pytest.fixture
def installed() -> Iterator[None]:
    """The package in the environment of the tests, since a sandbox sees no other."""
    site = Path(sysconfig.get_path("purelib"))
    if not os.access(site, os.W_OK):
        pytest.skip(f"{site} can't be written to")
    folders = _install(site)
    yield
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Channels of the same weights but 2 and 3, which are larger."""
    numbers = np.random.default_rng(0)
    scale = np.array([[0.1], [0.1], [1], [1]], dtype=np.float32)
    path = tmp_path / "net.mlp"
    with path.open("wb") as file:
        np.savez(
            file,
            w0=numbers.random((4, 3), dtype=np.float32) * scale,
            b0=numbers.random(4, dtype=np.float32),
            w1=numbers.random((2, 4), dtype=np.float32),
            b1=numbers.random(2, dtype=np.float32),
        )
    return path


def _run(site: Path | None, *command: str) -> str:
    paths = [str(Path.cwd()), *([] if site is None else [str(site)])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _check(model: Path, pruned: Path) -> None:
    with np.load(model) as whole, np.load(pruned) as cut:
        assert np.array_equal(cut["w0"], whole["w0"][2:])
        assert np.array_equal(cut["w1"], whole["w1"][:, 2:])


def test_the_library_and_the_command_line_prune_files_of_the_format(tmp_path: Path, model: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    _install(site)
    told = _run(site, "-c", _LIBRARY, str(model))
    assert told.strip() == "{'w0': (2, 3), 'w1': (2, 2), 'b0': (2,), 'b1': (2,)} exact"
    told = _run(site, "-c", _MAIN, "prune", str(model), "--percent", "0.5", "-o", str(tmp_path / "small.mlp"))
    assert (tmp_path / "small.mlp").exists(), told
    _check(model, tmp_path / "small.mlp")

    (tmp_path / "broken.mlp").write_bytes(b"nothing")
    told = _run(site, "-c", _MAIN, "prune", str(tmp_path / "broken.mlp"), "--percent", "0.5", "-o", str(tmp_path / "b"))
    assert "broken.mlp is no .mlp" in told


def test_without_the_package_the_file_is_refused(tmp_path: Path, model: Path) -> None:
    told = _run(None, "-c", _MAIN, "prune", str(model), "--percent", "0.5", "-o", str(tmp_path / "small.mlp"))
    assert "the suffix is none of" in told


@pytest.mark.usefixtures("installed")
def test_a_service_offers_the_plugins_and_runs_them_in_its_sandbox(tmp_path: Path, model: Path) -> None:
    told = _run(None, "-c", _SERVICE, str(model), str(tmp_path / "data"), str(tmp_path / "small.mlp"))
    assert "True True" in told
    assert "'status': 0" in told, told
    _check(model, tmp_path / "small.mlp")
