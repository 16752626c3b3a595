"""Nothing that is secret is where it can be read: logs, command lines, files, messages, and what a job can see."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from coppice.jobs.database import open_database
from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.fleet.daemon import descendants
from tests.fleet.fleet import fleet, until
from tests.hostile.case import QUERY, pytorch, source

PASSWORD = "the-password-of-the-database"

#: Looks for words of which it is told the halves, in every place that a job can read, and says where they are.
SEARCH = """
import os, pathlib
words = [left + right for left, right in {halves!r}]
places = ["environment"] if any(word in str(dict(os.environ)) for word in words) else []
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/usr", "/lib", "/lib64", "/sys")]
    if folder.endswith("site-packages"):
        folders[:] = []
        continue
    for name in names:
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                seen = file.read(1 << 20)
        except OSError:
            continue
        if any(word.encode() in seen for word in words):
            places.append(path)
raise RuntimeError("secrets seen in " + repr(places))
"""


def test_settings_and_refusals_show_no_password(tmp_path: Path) -> None:
    url = f"postgresql://coppice:{PASSWORD}@127.0.0.1:1/coppice"
    settings = Settings(data_dir=tmp_path, database_url=url)
    assert PASSWORD not in repr(settings) + str(settings)
    with pytest.raises(Exception, match="can't be opened") as refused:
        open_database(settings)
    told = [str(refused.value), repr(refused.value), str(refused.value.__cause__)]
    assert PASSWORD not in "".join(told)
    for wrong in (f"mysql://coppice:{PASSWORD}@x/y", f"postgresql://coppice:{PASSWORD}@x:port/y"):
        with pytest.raises(Exception, match="postgresql://user:password") as refused:
            open_database(settings.model_copy(update={"database_url": wrong}))
        assert PASSWORD not in str(refused.value)


def test_what_was_in_a_statement_is_not_in_its_error(tmp_path: Path) -> None:
    engine = open_database(Settings(data_dir=tmp_path))
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError) as failed:
        connection.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": PASSWORD})
    assert PASSWORD not in str(failed.value)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fleet_in_trouble_gives_nothing_away(tmp_path: Path) -> None:
    with fleet(tmp_path, apis=1, workers=1, keys_required=True, log_format="json") as running:
        assert running.database is not None
        assert running.storage is not None
        keys = Keys(running.settings)
        client_id, secret = keys.create("ann")
        password = sa.make_url(running.database.url).password
        assert isinstance(password, str)
        secrets = {
            "database": password,
            "bucket": running.storage.environment["AWS_SECRET_ACCESS_KEY"],
            "key": secret,
            "webhooks": keys.webhook_secret("ann"),
            "receiver": "token-of-the-receiver",
            "wrong key": "a-key-that-is-wrong-but-nearly-right",
        }
        assert len(set(secrets.values())) == 6

        # All that is told to callers, to be searched too.
        answers: list[str] = []
        (url,) = running.apis
        # A kept connection could be closed just as it is used.
        limits = httpx.Limits(max_keepalive_connections=0)

        def ask(method: str, path: str, *, key: str = secret, **given: object) -> httpx.Response:
            who = {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": key}
            with httpx.Client(base_url=url, timeout=60, limits=limits) as http:
                answer = http.request(method, path, headers=who, **given)  # type: ignore[arg-type]
            answers.append(answer.text + str(dict(answer.headers)))
            return answer

        halves = [(word[: len(word) // 2], word[len(word) // 2 :]) for word in secrets.values()]
        upload = dict(pytorch(class_def=source(top=SEARCH.format(halves=halves))))
        webhook = f"https://nowhere.invalid/{secrets['receiver']}"
        sent = ask("POST", "/api/pt_prune", params={**QUERY, "webhook": webhook}, files=upload)
        assert sent.status_code == 200, sent.text
        txid = str(sent.json()["txid"])
        assert ask("GET", f"/api/status?txid={txid}", key=secrets["wrong key"]).status_code == 401

        def ended() -> str | None:
            told = ask("GET", f"/api/status?txid={txid}").json()
            return str(told["message"]) if told["status"] < 0 else None

        message = until(ended, "the end of the job", every=0.5)
        assert "secrets seen in []" in message, message
        until(lambda: "webhook of job" in _logs(running.folder), "a try of the webhook")

        commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for daemon in running.programs for pid in _family(daemon)}
        assert any(b"coppice" in command for command in commands)

        running.database.kill()
        assert ask("GET", f"/api/status?txid={txid}").status_code == 503
        running.database.start()
        until(lambda: ask("GET", f"/api/status?txid={txid}").status_code == 200, "the database to be back")
        running.storage.kill()
        refused = ask("POST", "/api/pt_prune", params=QUERY, files=dict(pytorch()))
        assert refused.status_code >= 500
        running.storage.start()

    logs = _logs(running.folder)
    assert "refused" in logs or "failed" in logs
    for what, word in secrets.items():
        assert word not in logs, what
        assert all(word not in answer for answer in answers), what
        assert all(word.encode() not in command for command in commands), what
        for file in (path for own in ("api-0", "work-0") for path in (tmp_path / own).rglob("*") if path.is_file()):
            assert word.encode() not in file.read_bytes(), (what, file)
    assert "txid=" not in logs
    assert "X-Amz-Signature" not in logs


def _logs(folder: Path) -> str:
    """What the processes of Coppice have logged."""
    return "".join((folder / name).read_text() for name in ("api-0.log", "work-0.log"))


def _family(daemon: object) -> list[int]:
    process = getattr(daemon, "process", None)
    return [] if process is None else [process.pid, *descendants(process.pid)]
