"""The API process as the operator has it: certificate, what it prints, what it loads, how it ends."""

from __future__ import annotations

import json
import os
import re
import ssl
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from coppice.errors import ParameterMissing
from coppice.http.certificate import certificate
from coppice.settings import Settings
from tests.http.process import ROOT, api_process, curl

pytestmark = pytest.mark.slow  # real processes

#: What parses models, or would run what is in them.
FRAMEWORKS = ("torch", "torchvision", "numpy", "scipy", "h5py", "onnx", "safetensors", "tensorflow", "keras")
OF_OURS = ("pipeline", "formats", "steps", "tracing", "channels", "rules", "criteria", "keras_layers", "child")


def test_a_client_that_trusts_the_certificate_needs_no_k(settings: Settings) -> None:
    with api_process(settings) as server:
        trusted = str(settings.data_dir / "tls" / "cert.pem")
        for host in ("127.0.0.1", "localhost"):
            assert (
                json.loads(curl("-sf", "--cacert", trusted, f"https://{host}:{server.port}/healthz"))["status"] == "ok"
            )
        # The strictest reading of RFC 5280 that the standard library knows.
        context = ssl.create_default_context(cafile=trusted)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with urllib.request.urlopen(f"{server.url}/healthz", context=context) as answer:
            assert answer.status == 200


def test_the_private_key_is_nobody_elses(settings: Settings) -> None:
    cert, key = certificate(settings)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in key.read_text()
    assert "PRIVATE KEY" not in cert.read_text()


def test_the_certificate_is_made_once_and_kept(settings: Settings) -> None:
    first = [path.read_bytes() for path in certificate(settings)]
    assert [path.read_bytes() for path in certificate(settings)] == first


def test_the_operators_certificate_is_used(settings: Settings, tmp_path: Path) -> None:
    cert, key = certificate(settings.model_copy(update={"data_dir": tmp_path / "elsewhere"}))
    with api_process(settings.model_copy(update={"tls_cert": cert, "tls_key": key})) as server:
        curl("-sf", "--cacert", str(cert), f"{server.url}/healthz")
    assert not (settings.data_dir / "tls").exists()


def test_half_of_a_certificate_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ParameterMissing, match="together"):
        certificate(settings.model_copy(update={"tls_cert": tmp_path / "cert.pem"}))


def test_the_server_loads_no_framework_and_nothing_that_parses_models(settings: Settings) -> None:
    """Of the process that served an upload: its memory map holds every extension module that it loaded."""
    with api_process(settings.model_copy(update={"tls": False})) as server:
        model = settings.data_dir / "net.h5"
        model.write_bytes(b"\x89HDF")
        curl("-sf", "-F", f"model=@{model}", f"{server.url}/api/tf_prune?percent=0.4")
        maps = Path(f"/proc/{server.pid}/maps").read_text()
    loaded = {name for name in FRAMEWORKS if re.search(rf"/{name}[/.]", maps)}
    assert not loaded
    assert "obstore" in maps  # the map does show what is loaded


def test_importing_the_server_imports_no_framework_and_no_engine() -> None:
    code = "import sys, coppice.http.__main__; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    imported = {name.split(".")[0] for name in modules.split()}
    assert not imported & set(FRAMEWORKS)
    assert not {f"coppice.{name}" for name in OF_OURS} & set(modules.split())
    assert "fastapi" in imported


def test_it_prints_where_it_listens_and_nothing_of_its_clients(settings: Settings) -> None:
    settings = settings.model_copy(update={"tls": False, "keys_required": True})
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "coppice.http"],
        cwd=ROOT,
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    port = line.split(":")[2].split()[0]
    key = ("-H", "X-IBM-Client-Id: the-id", "-H", "X-IBM-Client-Secret: the-secret")
    curl("-s", *key, f"http://127.0.0.1:{port}/api/status/?txid=the-txid")
    process.terminate()
    rest = process.stdout.read()
    process.wait(30)
    process.stdout.close()
    assert line == f"Coppice listens on http://127.0.0.1:{port} (docs at /docs)\n"
    assert not re.search("the-(id|secret|txid)", rest)


def test_without_a_sandbox_it_does_not_start_for_others(settings: Settings) -> None:
    settings = settings.model_copy(update={"isolation": "none", "host": "0.0.0.0"})
    ended = subprocess.run(
        [sys.executable, "-m", "coppice.http"],
        cwd=ROOT,
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == ParameterMissing.exit_code
    assert "127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr
