"""A PostgreSQL of a test's own: Debian's server, a new cluster, a password, real durability.

with postgres(tmp_path) as server:
    Settings(database_url=server.url, ...)
    server.kill()   # every process of it, by SIGKILL
    server.start()  # the same port, the same data
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fleet.daemon import Daemon, Server, free_port, missing

__all__ = ["Server", "postgres"]

USER = "coppice"
_CLUSTER = ("-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")


@contextmanager
def postgres(folder: Path, *, host: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[Server]:
    """Run a server until the end of the block; its log is `postgres.log` in the folder.

    `inside` is put before its commands: what enters a network namespace. Without Debian's server the test is skipped.
    """
    programs = _programs()
    password, port = secrets.token_hex(16), free_port()
    # Not in pytest's folder, which is root's alone: the server refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="coppice-postgres-") as made:
        data = Path(made) / "data"
        secret = Path(made) / "password"
        secret.write_text(password)
        as_user = _unprivileged(made, secret)
        subprocess.run(
            [*as_user, str(programs / "initdb"), *_CLUSTER, "-D", str(data), f"--pwfile={secret}"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        # Anyone with the password may come from anywhere: in the test of several hosts they come from other addresses.
        with (data / "pg_hba.conf").open("a") as allowed:
            allowed.write("host all all all scram-sha-256\n")
        # Each process of a fleet needs a few connections. What statements do is counted, for tests that ask.
        options = ["-h", host, "-k", made, "-N", "200", "-c", "shared_preload_libraries=pg_stat_statements"]
        probe = [*inside, str(programs / "pg_isready"), "-q", "-h", host, "-p", str(port), "-t", "1"]
        daemon = Daemon(
            command=[*inside, *as_user, str(programs / "postgres"), "-D", str(data), "-p", str(port), *options],
            log=folder / "postgres.log",
            ready=lambda: subprocess.run(probe, check=False).returncode == 0,
            polite=signal.SIGINT,  # PostgreSQL's "fast": connections are closed, not waited for
        )
        try:
            daemon.start()
            subprocess.run(
                [*inside, str(programs / "createdb"), "-h", host, "-p", str(port), "-U", USER, USER],
                check=True,
                capture_output=True,
                env={**os.environ, "PGPASSWORD": password},
            )
            yield Server(url=f"postgresql://{USER}:{password}@{host}:{port}/{USER}", daemon=daemon)
        finally:
            daemon.kill()


def _programs() -> Path:
    """Where Debian keeps the newest server; it puts it on nobody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        missing("PostgreSQL (apt-get install postgresql)")
    return found[-1].parent


def _unprivileged(folder: str, secret: Path) -> list[str]:
    """What runs a command as a user who is not root, to whom the folder now belongs."""
    if os.geteuid() != 0:
        return []
    user = next(name for name in ("postgres", "nobody") if _exists(name))
    for path in (folder, secret):
        shutil.chown(path, user)
    account = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
