"""The root of every failure, and its seven families: HTTP status and exit code are said here."""

from __future__ import annotations

from typing import Any, ClassVar


class CoppiceError(Exception):
    """Base of every failure that is reported to a user."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70
    #: How a user comes to it, and what he can do: what holds for every error of the class. The message says the rest.
    cause: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form that every front shows."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        return body if self.field is None else {**body, "field": self.field}


class BadRequest(CoppiceError):
    """A parameter is missing, malformed or contradicts another."""

    code = "bad_request"
    http_status = 400
    exit_code = 2


class BadUpload(CoppiceError):
    """An uploaded file is not what it should be."""

    code = "bad_upload"
    http_status = 422
    exit_code = 3


class UserCodeError(CoppiceError):
    """The model's own code failed: class file, constructor or forward."""

    code = "user_code_failed"
    http_status = 422
    exit_code = 4


class Refused(CoppiceError):
    """The model is understood to be outside what can be pruned correctly."""

    code = "refused"
    http_status = 422
    exit_code = 5


class LimitExceeded(CoppiceError):
    """A job passed a limit of its sandbox."""

    code = "limit_exceeded"
    http_status = 422
    exit_code = 6


class AccessError(CoppiceError):
    """A key or a transaction does not give access."""

    code = "access_denied"
    http_status = 401
    exit_code = 7


class InternalError(CoppiceError):
    """Our own fault."""

    code = "internal_error"
