"""A store that fails, in words: what is wrong, and who can do what. The cause itself goes to the log.

Not here: a file that isn't there, which is no failure of the store and stays a FileNotFoundError.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from coppice.errors import StorageUnavailable

_log = logging.getLogger(__name__)

_FULL = "its disk is full"
_CLOSED = "it may be read only, or not at all"
_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EIO: "its disk is broken",
}
_KIND: dict[type[Exception], str] = {
    PermissionDeniedError: "the object store refuses the service's credentials",
    UnauthenticatedError: "the object store refuses the service's credentials",
}
#: obstore tells the operating system's reason in its text alone.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
#: An object store answers 404 to this as to a missing file.
_NO_BUCKET = "NoSuchBucket"


@contextmanager
def told(*, missing: bool = True) -> Iterator[None]:
    """Raise StorageUnavailable for whatever a store may fail by; `missing`: except for a file that isn't there."""
    try:
        yield
    except FileNotFoundError as e:
        if _NO_BUCKET in str(e):
            raise _unavailable(e, "its bucket does not exist") from e
        if not missing:
            raise _unavailable(e, "what was being written is gone") from e
        raise
    except OSError as e:
        raise _unavailable(e, _ERRNO.get(e.errno or 0, "it failed")) from e
    except BaseError as e:
        raise _unavailable(e, _reason(e)) from e


def _reason(error: BaseError) -> str:
    for number in map(int, _OS_ERROR.findall(str(error))):
        if number in _ERRNO:
            return _ERRNO[number]
    return _KIND.get(type(error), "it can't be reached, or does not answer as it should")


def _unavailable(error: Exception, reason: str) -> StorageUnavailable:
    _log.warning("the store failed, %s: %s", reason, str(error).partition("\n")[0])
    return StorageUnavailable(
        f"The store of uploads and results is not available: {reason}. Try again in a minute; if it stays so, the "
        "operator finds the cause in the service's log."
    )
