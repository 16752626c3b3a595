"""The page of the service at `/`: three files that `scripts/web` made out of `web/`, held in memory, plain and packed.

Not here: the page of the calls (`http.docs`), and what this page shows, which it asks of the calls like any client.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = Path(__file__).parent / "static" / "app"
#: Address -> the file there, and its media type.
_ADDRESSES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/app/app.css": ("app.css", "text/css; charset=utf-8"),
}
#: Of the one style that Observable Plot writes into each of its charts; a browser takes no other that comes inline.
CHART_STYLE = "sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww="
_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' '{CHART_STYLE}'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    plain: bytes
    packed: bytes
    media_type: str
    etag: str

    def answer(self, http: Request) -> Response:
        headers = {
            "Content-Security-Policy": _POLICY,
            "ETag": self.etag,
            # Asked for each time, and then mostly answered by a 304: a new version of the service shows its own page.
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        }
        if self.etag in http.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in http.headers.get("accept-encoding", ""):
            return Response(self.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.plain, headers=headers, media_type=self.media_type)


def page_routes() -> list[Route]:
    """The routes of the page; no key is asked for, since it holds nothing of anybody."""
    return [_route(address, _read(*file)) for address, file in _ADDRESSES.items()]


def _route(address: str, file: _File) -> Route:
    async def answer(http: Request) -> Response:
        return file.answer(http)

    return Route(address, answer, include_in_schema=False)


def _read(name: str, media_type: str) -> _File:
    plain = (_FILES / name).read_bytes()
    # W/: the same for the plain and the packed bytes.
    etag = f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return _File(plain=plain, packed=gzip.compress(plain, mtime=0), media_type=media_type, etag=etag)
