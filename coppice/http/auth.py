"""Who is calling: the API key in the headers of the documents, and what a browser says of the page that calls.

Here, too, how often a client may call, since only who calls is known by then. Not here: keys themselves (`jobs.keys`),
the count (`jobs.rates`), and whose transaction it is (`jobs.desk`).
"""

from __future__ import annotations

import asyncio
import hmac
import math
import secrets
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from starlette.requests import Request

from coppice.errors import CoppiceError, CrossSite, KeyInvalid, ShareExceeded, TooManyRequests
from coppice.http import rate
from coppice.jobs.keys import ANONYMOUS, Keys
from coppice.jobs.rates import Allowance, Rates
from coppice.settings import Settings, is_loopback

CLIENT_ID = "X-IBM-Client-Id"
CLIENT_SECRET = "X-IBM-Client-Secret"  # noqa: S105  # the header's name

#: `Sec-Fetch-Site` of a call that the reader makes, or a page of this very service. Other clients don't send it.
_OWN_PAGES = ("same-origin", "none")
#: Calls of one address in a minute that may be refused for their key: more than people mistype, and at that speed
#: nobody finds 256 bits.
REFUSALS_PER_MINUTE = 60
#: How long a key that was right is known to be no guess, seconds, and how many such keys are known.
_KNOWN_SECONDS = 600.0
_KNOWN_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call: `client` is empty while that isn't known."""

    client: str
    client_id: str | None
    address: str


class Gate:
    """Lets a call in, or refuses it."""

    def __init__(self, settings: Settings, keys: Keys, rates: Rates) -> None:
        self._keys = keys
        self._rates = rates
        self._in_force = settings.asks_for_keys
        self._limit = settings.calls_per_minute
        self._known = _Known()

    async def client(self, http: Request) -> str:
        """The name of the client that calls; raises KeyInvalid, CrossSite or TooManyRequests."""
        address = http.client.host if http.client else ""
        http.state.caller = Caller(client="", client_id=http.headers.get(CLIENT_ID), address=address)
        refusals = f"refused {_neighbourhood(address)}"
        try:
            name = await self._name(http, refusals)
        except (KeyInvalid, CrossSite):
            _let_in(http, await self._rates.count(refusals, REFUSALS_PER_MINUTE), "with a key that is not valid")
            raise
        http.state.caller = Caller(client=name, client_id=http.state.caller.client_id, address=address)
        # Without keys everybody has the same name, and one must not use up what is another's.
        counted = f"client {name}" if self._in_force else f"anonymous {_neighbourhood(address)}"
        _let_in(http, await self._rates.count(counted, self._limit), "in a minute")
        return name

    async def _name(self, http: Request, refusals: str) -> str:
        if not self._in_force:
            self._refuse_other_sites(http)
            return ANONYMOUS
        client_id, secret = http.headers.get(CLIENT_ID), http.headers.get(CLIENT_SECRET)
        if not client_id or not secret:
            absent = CLIENT_SECRET if client_id else CLIENT_ID
            raise KeyInvalid(
                f"{absent} is missing. This service asks for an API key: send {CLIENT_ID} and {CLIENT_SECRET}.",
                field=absent,
            )
        if not self._known.has(client_id, secret):
            # Before the key is looked at, or a right guess would come through at any speed. Whoever called with this
            # key of late is not kept out by a guesser behind the same proxy.
            _let_in(http, await self._rates.look(refusals, REFUSALS_PER_MINUTE), "with a key that is not valid")
        name = await asyncio.to_thread(self._keys.verify, client_id, secret)
        self._known.add(client_id, secret)
        return name

    def _refuse_other_sites(self, http: Request) -> None:
        # Without keys, being on this machine is the permission; a page of another site that the reader visits has it,
        # too. It can't hide where it comes from, nor, when it points its own name at this machine, that name.
        site = http.headers.get("sec-fetch-site")
        if site is None:
            return
        if site not in _OWN_PAGES or not is_loopback(http.url.hostname or ""):
            raise CrossSite("Calls from the pages of other sites are refused. Open /docs of this service itself.")


class _Known:
    """Keys that were right of late, as digests that mean nothing outside this process."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._until: dict[bytes, float] = {}

    def has(self, client_id: str, secret: str) -> bool:
        return self._until.get(self._digest(client_id, secret), 0.0) > time.monotonic()

    def add(self, client_id: str, secret: str) -> None:
        now = time.monotonic()
        if len(self._until) >= _KNOWN_KEYS:
            self._until = {digest: until for digest, until in self._until.items() if until > now}
        if len(self._until) < _KNOWN_KEYS:
            self._until[self._digest(client_id, secret)] = now + _KNOWN_SECONDS

    def _digest(self, client_id: str, secret: str) -> bytes:
        return hmac.digest(self._salt, f"{client_id}\n{secret}".encode(), "sha256")


def _let_in(http: Request, allowance: Allowance, what: str) -> None:
    rate.tell(http, allowance)
    if not allowance.granted:
        seconds = math.ceil(allowance.wait)
        raise TooManyRequests(
            f"That is more than {allowance.limit} calls {what}, as many as you may make. Try again in {seconds} s.",
            retry_after=seconds,
        )


def _neighbourhood(address: str) -> str:
    """What one user has at his disposal: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(found if found.version == 4 else ip_network((int(found) >> 64 << 64, 64)))


def refusal_headers(error: CoppiceError) -> dict[str, str]:
    """What is told beside a refusal."""
    return {"Retry-After": str(error.retry_after)} if isinstance(error, ShareExceeded) else {}
