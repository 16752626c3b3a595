"""What is installed with which extra, so that a package that is missing is asked for by name.

The client and the commands with `--server` need none of them; pruning here needs `torch`, a service `server`, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coppice.errors import NotInstalled

#: Package as it is imported -> the extra that installs it; a test holds it equal to pyproject.toml.
EXTRAS = {
    **dict.fromkeys(("google_crc32c", "google", "h5py", "numpy", "safetensors", "scipy", "torch"), "torch"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "onnx"),
    **dict.fromkeys(
        (
            *("alembic", "cryptography", "dbos", "fastapi", "obstore", "prometheus_client", "psycopg"),
            *("python_multipart", "sqlalchemy", "starlette", "torchvision", "uvicorn"),
        ),
        "server",
    ),
}

_WITHOUT = {"torch": " Or let a service do it: --server, or coppice.Client, which need nothing more."}


@contextmanager
def explained() -> Iterator[None]:
    """Tell of a package that is missing which extra installs it: raises NotInstalled."""
    try:
        yield
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        raise NotInstalled(
            f"This needs the package {package}, which isn't installed here. Install it: pip install 'coppice[{extra}]'."
            + _WITHOUT.get(extra, "")
        ) from e
