"""One call to an address that a stranger has named: to the very host that was checked, short, and without redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence

import httpcore

from coppice.jobs.addresses import Address, Resolver, Target, checked, resolve, target

#: For the whole call, from the name to the end of the answer; and for each step of it, seconds.
CALL_SECONDS = 15.0
_STEP_SECONDS = 5.0
#: Of an answer's body, bytes: its status is what counts, and nobody reads the rest.
_MOST_READ = 64 * 1024


class CallFailedError(Exception):
    """The host could not be reached, or didn't answer in time or in HTTP."""


class Caller:
    """Makes calls, each on a connection of its own."""

    def __init__(self, *, private: bool, resolver: Resolver = resolve, trust: ssl.SSLContext | None = None) -> None:
        self._private = private
        self._resolver = resolver
        self._trust = trust or ssl.create_default_context()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises CallFailedError, and ParameterInvalid for a host that is not allowed."""
        where = target(url)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = await asyncio.to_thread(checked, where, private=self._private, resolver=self._resolver)
                return await self._post(url, body, headers, _Pinned(where, found))
        except (OSError, TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as e:
            raise CallFailedError(type(e).__name__) from e

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], backend: _Pinned) -> int:
        steps = dict.fromkeys(("connect", "read", "write", "pool"), _STEP_SECONDS)
        async with (
            # No proxy, no redirect, no cookie: this layer knows of none. TLS checks the name in the address.
            httpcore.AsyncConnectionPool(ssl_context=self._trust, network_backend=backend) as pool,
            pool.stream(
                "POST",
                url,
                headers=[*headers.items(), ("Content-Length", str(len(body))), ("Connection", "close")],
                content=body,
                extensions={"timeout": steps},
            ) as answer,
        ):
            read = 0
            async for chunk in answer.aiter_stream():
                read += len(chunk)
                if read > _MOST_READ:
                    break
            return answer.status


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever the name means by now."""

    def __init__(self, where: Target, addresses: Sequence[Address]) -> None:
        self._port = where.port
        self._addresses = addresses
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that takes it."""
        del host, port, local_address
        failed: Exception = OSError("no address")
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(
                    str(address), self._port, timeout=timeout, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failed = e
        raise failed

    async def connect_unix_socket(self, *_given: object, **_named: object) -> httpcore.AsyncNetworkStream:
        """Never: a webhook is of the network."""
        raise CallFailedError("a webhook is of the network")

    async def sleep(self, seconds: float) -> None:
        """Between tries of a connection."""
        await self._network.sleep(seconds)
