"""The root of every failure, and its seven families: HTTP status and exit code are said here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

#: The address of the errors' pages, below that of the service.
PAGES: Final = "/docs/errors"


class CoppiceError(Exception):
    """Base of every failure that is reported to a user."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70
    #: How a user comes to it, and what he can do: what holds for every error of the class. The message says the rest.
    cause: ClassVar[str] = "A failure of a kind that this version does not know: it came from a newer service."
    remedy: ClassVar[str] = "Read the message. A newer version of the client knows more."

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        # What a traceback, or a notebook, shows below the message.
        self.add_note(f"{self.remedy}\nMore: coppice explain {self.code}")

    @classmethod
    def link(cls) -> str:
        """Where every service shows the page of this code; `coppice explain` says the same without one."""
        return f"{PAGES}/{cls.code}"

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form that every front shows."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            body["field"] = self.field
        return {**body, "cause": self.cause, "remedy": self.remedy, "link": self.link()}


class BadRequest(CoppiceError):
    """A parameter is missing, malformed or contradicts another."""

    code = "bad_request"
    cause = "The call itself is wrong, whatever the model is."
    remedy = "Correct the call as the message says and send it again."
    http_status = 400
    exit_code = 2


class BadUpload(CoppiceError):
    """An uploaded file is not what it should be."""

    code = "bad_upload"
    cause = "An uploaded file is not what its part should hold."
    remedy = "Save the model again as the message says, and send that file."
    http_status = 422
    exit_code = 3


class UserCodeError(CoppiceError):
    """The model's own code failed: class file, constructor or forward."""

    code = "user_code_failed"
    cause = "The code of the model failed, not Coppice's: class file, constructor or forward."
    remedy = (
        "Run the model once in your own process with the same arguments and the same input size; mend what fails there."
    )
    http_status = 422
    exit_code = 4


class Refused(CoppiceError):
    """The model is understood to be outside what can be pruned correctly."""

    code = "refused"
    cause = "The model is understood, and what was asked can't be done to it with the outputs staying right."
    remedy = "The message names what stands in the way. `coppice inspect` shows what can be cut."
    http_status = 422
    exit_code = 5


class LimitExceeded(CoppiceError):
    """A job passed a limit of its sandbox."""

    code = "limit_exceeded"
    cause = "The job passed a limit of its sandbox."
    remedy = "Send a smaller model or less data, or have the operator raise the limit that the message names."
    http_status = 422
    exit_code = 6


class AccessError(CoppiceError):
    """A key or a transaction does not give access."""

    code = "access_denied"
    cause = "The service keeps the jobs of its clients apart."
    remedy = "Use the key and the transaction id that belong together."
    http_status = 401
    exit_code = 7


class InternalError(CoppiceError):
    """Our own fault."""

    code = "internal_error"
    cause = "A mistake in Coppice, not in your call."
    remedy = (
        "Send the job once more. If it fails again, please report it with the transaction id: the log has the details "
        "under it."
    )
