"""Who is calling: the API key in the headers of the documents, and what a browser says of the page that calls.

Not here: keys themselves (`jobs.keys`), and whose transaction it is (`jobs.desk`).
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from coppice.errors import CrossSite, KeyInvalid
from coppice.jobs.keys import ANONYMOUS, Keys
from coppice.settings import Settings, is_loopback

CLIENT_ID = "X-IBM-Client-Id"
CLIENT_SECRET = "X-IBM-Client-Secret"  # noqa: S105  # the header's name

#: `Sec-Fetch-Site` of a call that the reader makes, or a page of this very service. Other clients don't send it.
_OWN_PAGES = ("same-origin", "none")


class Gate:
    """Lets a call in, or refuses it."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._keys = keys
        self._in_force = settings.asks_for_keys

    async def client(self, http: Request) -> str:
        """The name of the client that calls; raises KeyInvalid or CrossSite."""
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
        return await asyncio.to_thread(self._keys.verify, client_id, secret)

    def _refuse_other_sites(self, http: Request) -> None:
        # Without keys, being on this machine is the permission; a page of another site that the reader visits has it,
        # too. It can't hide where it comes from, nor, when it points its own name at this machine, that name.
        site = http.headers.get("sec-fetch-site")
        if site is None:
            return
        if site not in _OWN_PAGES or not is_loopback(http.url.hostname or ""):
            raise CrossSite("Calls from the pages of other sites are refused. Open /docs of this service itself.")
