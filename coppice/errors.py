"""Every failure that a user can meet, as one tree.

    CoppiceError
    ├── BadRequest              the call itself is wrong          400, exit 2
    ├── BadUpload               a file is not what it should be   422, exit 3
    ├── UserCodeError           the model's own code failed       422, exit 4
    ├── Refused                 the model can't be cut correctly  422, exit 5
    ├── LimitExceeded           a limit of the sandbox was hit    422, exit 6
    ├── AccessError             key or transaction                401/404/409/410, exit 7
    └── InternalError           our own fault                     500, exit 70

A message says what happened, where, and what to do; `field` names the parameter, part or layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class CoppiceError(Exception):
    """Base of every failure that is reported to a user."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

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


class ParameterMissing(BadRequest):
    """A required parameter or part was not given."""

    code = "parameter_missing"


class ParameterInvalid(BadRequest):
    """A parameter does not parse."""

    code = "parameter_invalid"


class PercentOutOfRange(BadRequest):
    """`percent` is not a fraction in [0, 1)."""

    code = "percent_out_of_range"


class FieldsMaskInvalid(BadRequest):
    """The X-Fields mask does not parse."""

    code = "fields_mask_invalid"


class UnknownLayer(BadRequest):
    """An omitted layer is not in the model."""

    code = "unknown_layer"


class UnknownAddress(BadRequest):
    """The service has no such address."""

    code = "unknown_address"
    http_status = 404


class MethodNotAllowed(BadRequest):
    """The address is there but takes another HTTP method."""

    code = "method_not_allowed"
    http_status = 405


class UnknownCriterion(BadRequest):
    """No criterion has that name."""

    code = "unknown_criterion"


class PrecisionImpossible(BadRequest):
    """No file of that kind can hold those precisions together; the message names the nearest that it can."""

    code = "precision_impossible"


class SamplesMissing(BadRequest):
    """What was asked for needs samples of the user's data, or labels with them, and there are none."""

    code = "samples_missing"


class InputSizeInvalid(BadRequest):
    """`input_size` is missing, malformed, too large, or not what the model takes."""

    code = "input_size_invalid"


class BadUpload(CoppiceError):
    """An uploaded file is not what it should be."""

    code = "bad_upload"
    http_status = 422
    exit_code = 3


class UploadTooLarge(BadUpload):
    """An upload passes the size limit."""

    code = "upload_too_large"
    http_status = 413


class UploadStalled(BadUpload):
    """Nothing more came of an upload for too long."""

    code = "upload_stalled"
    http_status = 408


class UnsupportedMediaType(BadUpload):
    """The body is not multipart/form-data, or a file has a suffix that the call does not take."""

    code = "unsupported_media_type"
    http_status = 415


class EmptyFile(BadUpload):
    """A file has no bytes."""

    code = "empty_file"


class UnknownFormat(BadUpload):
    """The bytes are none of the formats that the call takes."""

    code = "unknown_format"


class TruncatedFile(BadUpload):
    """The file is of a known format but damaged."""

    code = "truncated_file"


class WeightsOnly(BadUpload):
    """A Keras file that holds weights and no model configuration."""

    code = "weights_only"


class HostileFile(BadUpload):
    """A file uses a feature that is only of use in an attack: external links, path tricks, bombs."""

    code = "hostile_file"


class PickledModule(BadUpload):
    """A `.pth` that holds a whole pickled module instead of a state dict."""

    code = "pickled_module"


class StateDictMismatch(BadUpload):
    """The state dict does not fit the class."""

    code = "state_dict_mismatch"


class DatasetInvalid(BadUpload):
    """The samples do not open, or are not what the model takes."""

    code = "dataset_invalid"


class UserCodeError(CoppiceError):
    """The model's own code failed: class file, constructor or forward."""

    code = "user_code_failed"
    http_status = 422
    exit_code = 4


class ClassFileInvalid(UserCodeError):
    """The class file has a syntax error, a missing import, or not the class that was named."""

    code = "class_file_invalid"


class ConstructorFailed(UserCodeError):
    """`model_name()` raised, or needs arguments."""

    code = "constructor_failed"


class ForwardFailed(UserCodeError):
    """The model's forward raised on the example input."""

    code = "forward_failed"


class Refused(CoppiceError):
    """The model is understood to be outside what can be pruned correctly."""

    code = "refused"
    http_status = 422
    exit_code = 5


class UnsupportedLayer(Refused):
    """A layer that is neither known nor safely passed over."""

    code = "unsupported_layer"


class CriterionUnsuitable(Refused):
    """The criterion that was asked for has nothing to say of any channel of the model."""

    code = "criterion_unsuitable"


class TargetUnreachable(Refused):
    """No cut of this model does what was asked; the message says what can be reached."""

    code = "target_unreachable"


class NothingToPrune(Refused):
    """No channel of the model can be removed; the reasons are in the message."""

    code = "nothing_to_prune"


class OutputsNotNumbers(Refused):
    """The model gives NaN on its example input, so that nothing can be compared."""

    code = "outputs_not_numbers"


class VerificationFailed(Refused):
    """The pruned model does not equal the masked original, and no smaller cut does."""

    code = "verification_failed"


class ReloadFailed(Refused):
    """The written file did not load back, or gave other outputs, in a clean process."""

    code = "reload_failed"


class LimitExceeded(CoppiceError):
    """A job passed a limit of its sandbox."""

    code = "limit_exceeded"
    http_status = 422
    exit_code = 6


class OutOfMemory(LimitExceeded):
    """The job asked for more memory than its limit."""

    code = "out_of_memory"


class TimeLimit(LimitExceeded):
    """The job ran longer than its wall-clock or CPU limit."""

    code = "time_limit"


class DiskLimit(LimitExceeded):
    """The job wrote more than its limit."""

    code = "disk_limit"


class JobCrashed(LimitExceeded):
    """The job's process ended without a valid result: a crash of the model's code, or `os._exit`."""

    code = "job_crashed"


class WorkerDied(LimitExceeded):
    """The job killed its worker as often as a job may."""

    code = "worker_died"


class AccessError(CoppiceError):
    """A key or a transaction does not give access."""

    code = "access_denied"
    http_status = 401
    exit_code = 7


class KeyInvalid(AccessError):
    """The API key is missing or wrong."""

    code = "key_invalid"


class CrossSite(AccessError):
    """A web page of another site made the reader's browser call the service."""

    code = "cross_site"
    http_status = 403


class TooManyRequests(AccessError):
    """A client has as many uploads under way as it may."""

    code = "too_many_requests"
    http_status = 429


class UnknownTransaction(AccessError):
    """No such transaction, or another client's."""

    code = "unknown_transaction"
    http_status = 404


class ResultNotReady(AccessError):
    """The job is queued, running or failed, so there is nothing to download."""

    code = "result_not_ready"
    http_status = 409


class UnknownArtifact(AccessError):
    """The result has no artifact of that name."""

    code = "unknown_artifact"
    http_status = 404


class ResultExpired(AccessError):
    """The result is past its retention."""

    code = "result_expired"
    http_status = 410


class InternalError(CoppiceError):
    """Our own fault."""

    code = "internal_error"


class NotInstalled(InternalError):
    """A package that a format needs isn't there."""

    code = "not_installed"
    http_status = 503
    exit_code = 69


class IsolationUnavailable(InternalError):
    """The sandbox can't be had on this machine."""

    code = "isolation_unavailable"
    http_status = 503
    exit_code = 69


class ServiceUnavailable(InternalError):
    """The remote service can't be reached or answered nonsense."""

    code = "service_unavailable"
    http_status = 503
    exit_code = 69


def _tree(root: type[CoppiceError]) -> Iterator[tuple[str, type[CoppiceError]]]:
    yield root.code, root
    for child in root.__subclasses__():
        yield from _tree(child)


#: code -> class, for turning a child's failure.json back into the error that it was.
BY_CODE: dict[str, type[CoppiceError]] = dict(_tree(CoppiceError))
if len(BY_CODE) < len(list(_tree(CoppiceError))):
    raise RuntimeError("two errors have the same code")
