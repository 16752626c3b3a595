"""The `Idempotency-Key` header: a client's own name for a call, by which a repeated call finds the job of the first.

As in draft-ietf-httpapi-idempotency-key-header, where it is a quoted string; the bare text that most clients send is
the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from starlette.requests import Request as HttpRequest

from coppice.errors import ParameterInvalid
from coppice.http.intake import Intake
from coppice.records.request import Request
from coppice.records.terms import Terms
from coppice.storage import StoredFile

HEADER = "Idempotency-Key"
#: Of an answer that names the job of an earlier call.
REPLAYED = "Idempotency-Replayed"
MAX_CHARACTERS = 255

_PRINTABLE = re.compile(rf"[\x20-\x7e]{{1,{MAX_CHARACTERS}}}")
#: RFC 8941, section 3.3.3: a quote and a backslash are escaped, nothing else is.
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def key_of(http: HttpRequest) -> str | None:
    """The key of a call, None where it has none; raises ParameterInvalid."""
    given = http.headers.getlist(HEADER)
    if not given:
        return None
    text = given[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else text
    if len(given) > 1 or not _PRINTABLE.fullmatch(key):
        raise ParameterInvalid(
            f"{HEADER} is not one text of 1 to {MAX_CHARACTERS} printable ASCII characters. Send a UUID.", field=HEADER
        )
    return key


def fingerprint(intake: Intake, request: Request, terms: Terms, files: Sequence[StoredFile]) -> str:
    """What makes two calls the same: the call, its parameters, and what is in its files."""
    said = {
        "call": intake.call,
        "request": request.model_dump(mode="json"),
        "terms": terms.model_dump(mode="json"),
        # By part: the key of a file begins with its transaction, which differs.
        "files": sorted((file.key.split("/", 2)[2], file.sha256) for file in files),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
