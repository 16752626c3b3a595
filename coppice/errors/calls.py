"""What is wrong with a call: a parameter, an address, the key, the transaction, or the client's share."""

from __future__ import annotations

from coppice.errors.families import AccessError, BadRequest


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


class KeyInvalid(AccessError):
    """The API key is missing or wrong."""

    code = "key_invalid"


class CrossSite(AccessError):
    """A web page of another site made the reader's browser call the service."""

    code = "cross_site"
    http_status = 403


class TooManyRequests(AccessError):
    """A client calls more often than it may, or has as many uploads under way as it may."""

    code = "too_many_requests"
    http_status = 429

    def __init__(self, message: str, *, field: str | None = None, retry_after: int = 10) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after  # seconds


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


class QuotaExceeded(TooManyRequests):
    """The client has as many jobs, or as many bytes, as it may have at once."""

    code = "quota_exceeded"


class IdempotencyConflict(AccessError):
    """The Idempotency-Key was used before, for another call."""

    code = "idempotency_conflict"
    http_status = 409


class RangeImpossible(AccessError):
    """The Range header names bytes that the file doesn't have."""

    code = "range_impossible"
    http_status = 416
