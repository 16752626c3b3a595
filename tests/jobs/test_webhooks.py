"""Webhooks: told once it is understood, signed so that anybody can check, and to nobody but who was checked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.orm import Session

from coppice.errors import ParameterInvalid
from coppice.http import answers
from coppice.jobs import queries, webhooks
from coppice.jobs.addresses import Address, refuse_inside
from coppice.jobs.calls import Caller, CallFailedError
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.jobs.tables import WebhookRow
from coppice.records.report import Failure
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import StoredFile
from tests.jobs.job_processes import REQUEST


@dataclass
class Receiver:
    """A real HTTP server on this machine that answers as it is told and remembers what came."""

    port: int = 0
    status: int = 200
    location: str | None = None
    answer: bytes = b"ok"
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/finished?token=of-the-receiver"


@contextmanager
def receiving(receiver: Receiver, trust: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if trust is not None:
            server.socket = trust.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_database(settings)
    yield engine
    engine.dispose()


def submit(settings: Settings, url: str | None) -> str:
    txid = str(uuid4())
    file = StoredFile(key=f"uploads/{txid}/model/net.h5", size=1, sha256="0" * 64)
    return Desk(settings).submit(txid=txid, client="ann", request=REQUEST, uploads=[file], terms=Terms(webhook=url))


def finish(engine: sa.Engine, txid: str) -> None:
    with Session(engine) as session, session.begin():
        row = queries.begin_attempt(session, txid)
        assert row is not None
        now = datetime.now(UTC)
        assert queries.publish(
            session, txid, row.attempts, finished=now, summary="a table", filename="tmp1.h5", artifacts=()
        )


def fail(engine: sa.Engine, txid: str) -> None:
    with Session(engine) as session, session.begin():
        row = queries.begin_attempt(session, txid)
        assert row is not None
        failure = Failure(code="weights_only", message="Use save().")
        assert queries.fail(session, txid, row.attempts, finished=datetime.now(UTC), failure=failure)


def due(engine: sa.Engine) -> dict[str, tuple[int, datetime]]:
    with Session(engine) as session:
        return {row.txid: (row.tries, row.due) for row in session.scalars(sa.select(WebhookRow))}


def make_due(engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(sa.update(WebhookRow).values(due=datetime.now(UTC) - timedelta(seconds=1)))


def deliver(engine: sa.Engine, caller: Caller | None = None) -> None:
    asyncio.run(webhooks.deliver(engine, caller or Caller(private=True)))


def test_each_end_of_a_job_is_told_in_the_words_of_the_contract(settings: Settings, engine: sa.Engine) -> None:
    with receiving(Receiver()) as receiver:
        done, failed, cancelled = (submit(settings, receiver.url) for _ in range(3))
        silent = submit(settings, None)
        deliver(engine)
        assert receiver.came == []  # nothing has ended
        finish(engine, done)
        finish(engine, silent)
        fail(engine, failed)
        Desk(settings).cancel(cancelled, "ann")
        deliver(engine)
    assert due(engine) == {}
    told = {json.loads(body)["txid"]: json.loads(body) for _headers, body in receiver.came}
    assert len(receiver.came) == len(told) == 3
    for txid, state, number, message, filename in (
        (done, "done", 0, "a table", "tmp1.h5"),
        (failed, "failed", -1, "Use save().", None),
        (cancelled, "cancelled", -2, "Cancelled by ann.", None),
    ):
        ended = Desk(settings).job(txid, "ann").finished
        assert ended is not None
        assert told[txid] == {
            "type": f"job.{state}",
            "timestamp": told[txid]["finished"],
            "txid": txid,
            "status": number,
            "state": state,
            "message": message,
            "finished": told[txid]["finished"],
            **({"filename": filename} if filename else {}),
        }
        assert datetime.fromisoformat(told[txid]["finished"]) == ended
    assert all(answers.NUMBERS[state] == number for state, number in webhooks.NUMBERS.items())


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification's own libraries, and of none of our code."""
    at = datetime.fromtimestamp(1614265330, UTC)
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    message = webhooks.signed("https://example.org", "msg_p5jXN8AQM9LWM0D4loKWxJek", body, secret, at)
    assert message.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_checks_who_sent_it_with_the_secret_that_the_command_shows(
    settings: Settings, engine: sa.Engine
) -> None:
    Keys(settings).create("ann")
    secret = Keys(settings).webhook_secret("ann")
    assert secret.startswith("whsec_")
    assert Keys(settings).webhook_secret("ann") == secret != Keys(settings).webhook_secret("anonymous")
    with pytest.raises(ParameterInvalid):
        Keys(settings).webhook_secret("nobody")
    with receiving(Receiver()) as receiver:
        finish(engine, submit(settings, receiver.url))
        deliver(engine)
    headers, body = receiver.came[0]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = hmac.new(base64.b64decode(secret[6:]), content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(right).decode()}"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 120
    assert "." not in headers["webhook-id"]


def test_a_receiver_that_fails_is_told_again_with_the_same_id_and_ever_longer_pauses(
    settings: Settings, engine: sa.Engine
) -> None:
    assert len(webhooks.PAUSES) == 9
    assert list(webhooks.PAUSES) == sorted(webhooks.PAUSES)
    assert sum(webhooks.PAUSES) == pytest.approx(24 * 3600, rel=0.05)
    with receiving(Receiver(status=503)) as receiver:
        txid = submit(settings, receiver.url)
        finish(engine, txid)
        for number, pause in enumerate(webhooks.PAUSES, start=1):
            before = datetime.now(UTC)
            deliver(engine)
            tries, when = due(engine)[txid]
            assert tries == number
            assert when >= before + timedelta(seconds=pause)
            deliver(engine)  # not due
            assert len(receiver.came) == number
            make_due(engine)
        deliver(engine)
        assert due(engine) == {}  # given up
    assert len(receiver.came) == 10
    assert len({headers["webhook-id"] for headers, _body in receiver.came}) == 1
    assert len({body for _headers, body in receiver.came}) == 1


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (204, False), (410, False), (301, True), (404, True), (429, True), (500, True)]
)
def test_which_answers_end_it(settings: Settings, engine: sa.Engine, status: int, again: bool) -> None:
    with receiving(Receiver()) as elsewhere, receiving(Receiver(status=status, answer=b"")) as receiver:
        receiver.location = elsewhere.url
        txid = submit(settings, receiver.url)
        finish(engine, txid)
        deliver(engine)
    assert (txid in due(engine)) is again
    assert elsewhere.came == []  # a redirect is not followed


def test_two_workers_do_not_send_the_same_at_once(settings: Settings, engine: sa.Engine) -> None:
    with receiving(Receiver()) as receiver:
        sent = {submit(settings, receiver.url) for _ in range(12)}
        for txid in sent:
            finish(engine, txid)
        workers = [threading.Thread(target=deliver, args=(open_database(settings),)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sorted(json.loads(body)["txid"] for _headers, body in receiver.came) == sorted(sent)


def test_what_a_worker_had_in_hand_when_it_was_killed_is_sent_by_the_next(
    settings: Settings, engine: sa.Engine
) -> None:
    with receiving(Receiver()) as receiver:
        txid = submit(settings, receiver.url)
        finish(engine, txid)
        assert webhooks._claim(engine) == [(txid, 1)]  # and here it was killed
        deliver(engine)
        assert receiver.came == []
        assert due(engine)[txid][1] > datetime.now(UTC)
        make_due(engine)  # the lease ran out
        deliver(engine)
    assert [json.loads(body)["txid"] for _headers, body in receiver.came] == [txid]
    assert due(engine) == {}


def test_an_answer_without_end_is_not_read_to_its_end(settings: Settings, engine: sa.Engine) -> None:
    with receiving(Receiver(answer=b"x" * 20_000_000)) as receiver:
        finish(engine, submit(settings, receiver.url))
        deliver(engine)
    assert len(receiver.came) == 1
    assert due(engine) == {}


def test_a_receiver_that_never_answers_holds_up_no_other(
    settings: Settings, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coppice.jobs.calls.CALL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute, receiving(Receiver()) as receiver:
        stuck = submit(settings, f"http://127.0.0.1:{mute.getsockname()[1]}/")
        told = submit(settings, receiver.url)
        finish(engine, stuck)
        finish(engine, told)
        deliver(engine)
    assert [json.loads(body)["txid"] for _headers, body in receiver.came] == [told]
    assert set(due(engine)) == {stuck}


def test_a_name_that_means_another_address_by_now_is_not_called(settings: Settings, engine: sa.Engine) -> None:
    """DNS rebinding: public when the job is sent, this machine when it has ended."""
    asked: list[str] = []

    def rebound(host: str, _port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address("8.8.8.8" if len(asked) == 1 else "127.0.0.1")]

    with receiving(Receiver()) as receiver:
        url = f"http://rebound.example:{receiver.port}/"
        refuse_inside(url, private=False, resolver=rebound)
        txid = submit(settings, url)
        finish(engine, txid)
        deliver(engine, Caller(private=False, resolver=rebound))
        assert receiver.came == []
        assert txid in due(engine)
        # The very address that was checked is called: a name that nobody else knows is found, and asked for once.
        asked.append("once more")
        make_due(engine)
        before = len(asked)
        deliver(engine, Caller(private=True, resolver=rebound))
        assert len(asked) == before + 1
    assert receiver.came[0][0]["host"] == f"rebound.example:{receiver.port}"


def test_tls_checks_the_name_and_not_the_address(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    _self_signed("right.example", certificate, key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trust = ssl.create_default_context(cafile=str(certificate))
    caller = Caller(private=True, resolver=lambda _host, _port: [ip_address("127.0.0.1")], trust=trust)

    def call(host: str, caller: Caller) -> int:
        return asyncio.run(caller.post(f"https://{host}:{receiver.port}/", b"{}", {}))

    with receiving(Receiver(), serving) as receiver:
        assert call("right.example", caller) == 200
        with pytest.raises(CallFailedError):
            call("wrong.example", caller)
        with pytest.raises(CallFailedError):  # nobody vouches for it
            call("right.example", Caller(private=True, resolver=lambda _host, _port: [ip_address("127.0.0.1")]))
    assert len(receiver.came) == 1


def test_no_address_of_a_webhook_is_in_a_log(
    settings: Settings, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), receiving(Receiver(status=500)) as receiver:
        txid = submit(settings, receiver.url)
        finish(engine, txid)
        deliver(engine)
    assert txid in caplog.text
    assert "of-the-receiver" not in caplog.text
    assert "whsec_" not in caplog.text


def _self_signed(name: str, certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
