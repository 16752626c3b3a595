"""What a job sees of the machine: the smallest read-only system in which Python and torch run, and its own folder.

Every path is the same inside as outside, so virtual environments, compiled files and tracebacks stay right. Not
there: /etc/passwd, /home, /root, the host's /tmp, /proc (two harmless files and a dead link apart) and the service's
data folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The folder of coppice itself, wherever it is installed.
PACKAGE = Path(__file__).resolve().parents[1]

#: Room for temporary files. They are memory that no resource limit counts, so it is small.
TMP_BYTES = 64 * 1024 * 1024

#: Symbolic links into /usr on most systems, folders of their own on some.
SYSTEM_FOLDERS = ("bin", "lib", "lib32", "lib64", "sbin")

SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/alternatives",  # Debian reaches libblas and others through here
    "/proc/cpuinfo",  # torch's choice of kernels; without it NNPACK and cpuinfo complain on standard error
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)

DEVICES = ("null", "zero", "full", "random", "urandom")

#: TensorFlow reads this link when it starts, and gives up where there is none; it need not lead anywhere.
DEAD_LINK = Path("/proc/self/exe")

#: The job's own folder inside its box; the rest of the box can only be read.
OUT = "out"


def code_folders() -> tuple[Path, ...]:
    """The interpreter, its libraries and coppice itself, outermost folders only, /usr left out."""
    prefixes = (Path(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix))
    return _shown({*prefixes, *_behind(Path(sys.executable)), PACKAGE})


def environment_folders(environment: Path) -> tuple[Path, ...]:
    """Another virtual environment, and the Python that it was made of."""
    return _shown({environment, *_behind(environment / "bin" / "python")})


def _behind(executable: Path) -> Iterator[Path]:
    """The folders of an interpreter.

    A virtual environment's python is a link, which may pass through further links on its way to the real one.
    """
    while executable.is_symlink():
        executable = executable.parent / executable.readlink()
        yield executable.parent.parent
    yield executable.resolve().parent.parent


def _shown(folders: Iterable[Path]) -> tuple[Path, ...]:
    return outermost(path for path in folders if not path.is_relative_to("/usr"))


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths that lie in none of the others, sorted."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return tuple(kept)


def mounts(box: Path, environment: Path | None = None) -> list[str]:
    """The arguments that make bubblewrap build this view around one box, with another environment to read."""
    more = () if environment is None else environment_folders(environment)
    arguments = ["--ro-bind", "/usr", "/usr"]
    for folder in (Path("/") / name for name in SYSTEM_FOLDERS):
        if folder.is_symlink():
            arguments += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            arguments += ["--ro-bind", str(folder), str(folder)]
    # First, so that it hides nothing that lies in the host's /tmp and is bound below.
    arguments += ["--size", str(TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108
    read_only = _read_only(box, more)
    devices = [Path("/dev") / name for name in DEVICES]
    # bubblewrap makes missing parents for its caller alone; the job is another user.
    links = [] if environment is None else [DEAD_LINK]
    for parent in _parents([*read_only, *devices, *links]):
        arguments += ["--dir", str(parent)]
    for link in links:
        arguments += ["--symlink", "/nowhere", str(link)]
    for device in devices:
        arguments += ["--dev-bind", str(device), str(device)]
    arguments += ["--symlink", "/tmp", "/dev/shm"]  # noqa: S108 - shared memory is temporary memory
    for path in read_only:
        arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--bind", str(box / OUT), str(box / OUT)]


def readable(box: Path, environment: Path | None = None) -> list[Path]:
    """The same view as a list of what may be read, for a sandbox that has the host's own folders before it."""
    more = () if environment is None else environment_folders(environment)
    folders = (Path("/") / name for name in ("usr", *SYSTEM_FOLDERS))
    return [*(folder for folder in folders if folder.is_dir()), *_read_only(box, more)]


def _read_only(box: Path, more: Iterable[Path]) -> list[Path]:
    return [*(path for path in map(Path, SYSTEM_FILES) if path.exists()), *outermost((*code_folders(), *more)), box]


def _parents(paths: Iterable[Path]) -> Iterator[Path]:
    """Every folder above the paths, each once, a folder before what is in it."""
    yield from sorted({parent for path in paths for parent in path.parents if parent != Path("/")})
