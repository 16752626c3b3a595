"""Without the engine: the client and the commands load, and what needs more says which extra it is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from coppice.errors import NotInstalled
from coppice.extras import EXTRAS, explained

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
#: Distribution -> the package that is imported, where another.
IMPORTED = {"protobuf": "google", "prometheus-client": "prometheus_client"}


def without_engine(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program where no extra is installed, as far as it can tell."""
    blocked = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in EXTRAS)
    return subprocess.run([sys.executable, "-c", blocked + program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("extra", ["torch", "onnx", "server"])
def test_every_package_of_an_extra_is_known_as_its(extra: str) -> None:
    names = [re.split(r"[\[<>=]", one)[0] for one in PROJECT["optional-dependencies"][extra]]
    packages = {IMPORTED.get(name, name).replace("-", "_") for name in names}
    assert packages <= {package for package, of in EXTRAS.items() if of == extra}
    assert not packages & {re.split(r"[\[<>=]", one)[0] for one in PROJECT["dependencies"]}


def test_the_client_is_imported_where_no_extra_is() -> None:
    done = without_engine("import coppice, coppice.client\nprint(coppice.Client('http://127.0.0.1:1'), coppice.Job)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "127.0.0.1" in done.stdout


def test_the_commands_show_their_help_where_no_extra_is() -> None:
    program = "sys.argv = ['coppice', 'prune', '--help']\nimport coppice.cli\ncoppice.cli.main()"
    done = without_engine(program)
    assert done.returncode == 0, done.stderr
    assert "--server" in done.stdout


def test_pruning_here_says_what_to_install() -> None:
    program = "import coppice\ntry:\n    coppice.prune\nexcept coppice.CoppiceError as e:\n    print(e.code, e.message)"
    done = without_engine(program)
    assert done.stdout.startswith("not_installed"), done.stderr
    assert "pip install 'coppice[torch]'" in done.stdout


def test_a_command_that_needs_the_engine_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    arguments = ["coppice", "prune", str(tmp_path / "m.h5"), "--percent", "0.4", "-o", str(tmp_path / "out.h5")]
    done = without_engine(f"sys.argv = {arguments!r}\nimport coppice.cli\ncoppice.cli.main()")
    assert done.returncode == NotInstalled.exit_code
    assert "coppice[torch]" in done.stderr


def test_a_package_of_no_extra_is_missing_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="nobody_has_this"), explained():
        __import__("nobody_has_this")
