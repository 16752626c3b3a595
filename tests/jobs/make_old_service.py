"""Made `old_service/`: what `coppice serve` leaves behind when it is stopped with one job done and two waiting.

Run in a checkout of version 0.1 before there were migrations (commit b3bd81b), with its own tests beside it:

    python make_old_service.py FOLDER
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.jobs.job_processes import FINISH, end_of, send, worker


def main(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    Keys(settings).create("ann")
    done = send(settings, FINISH)
    with worker(settings):
        end_of(Desk(settings), done)
    waiting = [send(settings, FINISH), send(settings, FINISH, client="bob")]
    # One file: what the write-ahead log still holds goes into it.
    connection = sqlite3.connect(folder / "coppice.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    connection.close()
    (folder / "txids").write_text("\n".join([done, *waiting]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
