"""What is wrong with a call: a parameter, an address, the key, the transaction, or the client's share."""

from __future__ import annotations

from coppice.errors.families import AccessError, BadRequest


class ParameterMissing(BadRequest):
    """A required parameter or part was not given."""

    code = "parameter_missing"
    cause = "The call needs a parameter or a file that is not there, or that came under another name."
    remedy = (
        "Give what the message names. `/docs` lists what each call takes; `coppice COMMAND --help` does the same for "
        "the command line."
    )


class ParameterInvalid(BadRequest):
    """A parameter does not parse."""

    code = "parameter_invalid"
    cause = (
        "A parameter has a value that can't be read, is not among its choices, contradicts another one, or is unknown "
        "to the call."
    )
    remedy = (
        "Give it one of the values that the message names; a misspelt name is answered with the nearest that exists."
    )


class PercentOutOfRange(BadRequest):
    """`percent` is not a fraction in [0, 1)."""

    code = "percent_out_of_range"
    cause = "`percent` is the fraction of the model that is removed, not a percentage and not what is kept."
    remedy = "Give a number from 0 up to, but not including, 1: `0.5` removes half. Write 0.5 for 50 per cent."


class FieldsMaskInvalid(BadRequest):
    """The X-Fields mask does not parse."""

    code = "fields_mask_invalid"
    cause = "The X-Fields header does not follow the syntax of a fields mask."
    remedy = (
        "Write names with commas between them, as `txid,message`; braces around them and `*` for all are allowed. Or "
        "leave the header out."
    )


class UnknownLayer(BadRequest):
    """An omitted layer is not in the model."""

    code = "unknown_layer"
    cause = (
        "`omit` names a layer that the model does not have. Names are those of the framework: `named_modules()` of "
        "PyTorch, `layer.name` of Keras, the node's or its weight's name in ONNX."
    )
    remedy = "Take the name from the message's list, or from `coppice inspect`, which shows every layer."


class UnknownAddress(BadRequest):
    """The service has no such address."""

    code = "unknown_address"
    cause = "The path of the request is none that the service answers."
    remedy = "Compare it with the list at `/docs`. A prefix that a proxy adds or removes is a frequent reason."
    http_status = 404


class MethodNotAllowed(BadRequest):
    """The address is there but takes another HTTP method."""

    code = "method_not_allowed"
    cause = (
        "The address exists, but takes another method: most often a GET was sent where a model is posted, or the "
        "other way round."
    )
    remedy = "Use the method that the `Allow` header names."
    http_status = 405


class UnknownCriterion(BadRequest):
    """No criterion has that name."""

    code = "unknown_criterion"
    cause = "No criterion has that name, here: criteria of other packages are there only where the job runs."
    remedy = (
        "Choose one from the message's list. A criterion of a package of yours needs that package installed where the "
        "engine is."
    )


class PrecisionImpossible(BadRequest):
    """No file of that kind can hold those precisions together; the message names the nearest that it can."""

    code = "precision_impossible"
    cause = "Each kind of file and each runtime can hold some bit widths of weights and activations and no others."
    remedy = (
        "Take the nearest precision that the message names, or another target format. The reference of precisions "
        "shows which can be combined."
    )


class SamplesMissing(BadRequest):
    """What was asked for needs samples of the user's data, or labels with them, and there are none."""

    code = "samples_missing"
    cause = (
        "Some criteria, precisions and measurements look at what the model computes for real inputs, some of them at "
        "labels, too."
    )
    remedy = (
        "Send samples of your data, some hundred will do, with labels where the message asks for them; or choose a "
        "criterion that needs only weights."
    )


class InputSizeInvalid(BadRequest):
    """`input_size` is missing, malformed, too large, or not what the model takes."""

    code = "input_size_invalid"
    cause = (
        "PyTorch's weights do not say what the model takes, and an ONNX or Keras model may leave sizes open; so the "
        "size must be given, and must be one that the model runs on."
    )
    remedy = "Give the shape of one input without the batch, as `3,224,224`; several inputs as `3,224,224;10`."


class KeyInvalid(AccessError):
    """The API key is missing or wrong."""

    code = "key_invalid"
    cause = (
        "The service wants a key with every call, and this one has none, an expired one, a withdrawn one, or one with "
        "a mistake in it."
    )
    remedy = (
        "Send the id and the secret that `coppice keys create` printed in the two headers that the message names. "
        "Lost secrets can't be shown again: have the key rotated."
    )


class CrossSite(AccessError):
    """A web page of another site made the reader's browser call the service."""

    code = "cross_site"
    cause = (
        "A page of another address made the browser call this service. Without keys, everybody's browser would obey it."
    )
    remedy = "Call the service from its own page, from a program, or from a page that the operator has allowed."
    http_status = 403


class ShareExceeded(AccessError):
    """A client wants more of the service at once than one client may have."""

    code = "share_exceeded"
    cause = "What one client may have of the service is bounded, so that others still get their turn."
    remedy = "Wait as many seconds as the `Retry-After` header says and send the call again."
    http_status = 429

    def __init__(self, message: str, *, field: str | None = None, retry_after: int = 10) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after  # seconds


class TooManyRequests(ShareExceeded):
    """A client calls more often than it may, or has as many uploads under way as it may."""

    code = "too_many_requests"
    cause = (
        "One client may send so many calls in a time, and have so many uploads under way, that others still get their "
        "turn."
    )
    remedy = (
        "Wait as many seconds as the `Retry-After` header says and send the call again. `coppice.Client` and the "
        "command line do so by themselves."
    )


class UnknownTransaction(AccessError):
    """No such transaction, or another client's."""

    code = "unknown_transaction"
    cause = (
        "There is no job of that id, it was deleted, or it belongs to another key; for privacy the answers are the "
        "same."
    )
    remedy = "Check the id and the key: `coppice jobs list` shows those of your key."
    http_status = 404


class ResultNotReady(AccessError):
    """The job is queued, running or failed, so there is nothing to download."""

    code = "result_not_ready"
    cause = "The job is still queued or running, or it ended without a result."
    remedy = "Ask for its status, with `wait=` to be answered as soon as it ends, and download when that is 0."
    http_status = 409


class UnknownArtifact(AccessError):
    """The result has no artifact of that name."""

    code = "unknown_artifact"
    cause = (
        "The result has other files than the one that was asked for: which ones depends on the framework and on what "
        "was asked."
    )
    remedy = "Take a name from the message's list, or leave `artifact` out for the result itself."
    http_status = 404


class ResultExpired(AccessError):
    """The result is past its retention."""

    code = "result_expired"
    cause = "Results are kept for a limited time after the job ends, then their files are deleted."
    remedy = "Send the job again. The operator sets the time by the retention setting."
    http_status = 410


class QuotaExceeded(ShareExceeded):
    """The client has as many jobs, or as many bytes, as it may have at once."""

    code = "quota_exceeded"
    cause = "A client may have a limited number of jobs that have not ended, and of bytes that are stored."
    remedy = (
        "Wait until some have ended, cancel some, or delete results that you have downloaded: `coppice jobs delete`."
    )


class IdempotencyConflict(AccessError):
    """The Idempotency-Key was used before, for another call."""

    code = "idempotency_conflict"
    cause = "An `Idempotency-Key` stands for one call. The same key came with other parameters or another file."
    remedy = (
        "Use a fresh key, a UUID for example, for every new call, and the old one only to repeat the very same call."
    )
    http_status = 409


class RangeImpossible(AccessError):
    """The Range header names bytes that the file doesn't have."""

    code = "range_impossible"
    cause = (
        "A download was to go on behind the end of the file: what is there on your side is another file, or complete."
    )
    remedy = "Delete the partial file and download again from the start."
    http_status = 416


class BodyInvalid(BadRequest):
    """The body is not the multipart/form-data that its header promises."""

    code = "body_invalid"
    cause = "The body of the call is no whole multipart/form-data: it ends early, or was written by hand."
    remedy = "Let your client build the form: `curl -F`, `requests.post(files=...)` or `coppice.Client`."


class NotAModel(BadRequest):
    """The object that was given in Python is not a model."""

    code = "not_a_model"
    cause = "The call takes a live model or the path of its file. It got something else: a state dict, say, or a class."
    remedy = "Give a `torch.nn.Module`, a Keras model, an ONNX `ModelProto`, or the path of a file."


class ModelNotSaved(BadRequest):
    """A live model can't be handed over, because its framework can't save it."""

    code = "model_not_saved"
    cause = "A live model is handed over as the file that its framework writes, and writing that file failed."
    remedy = (
        "Save it yourself: `model.save(...)` of Keras, `onnx.save(...)` of ONNX. Mend what fails there, often a layer "
        "without `get_config`."
    )


class OutputNotWritten(BadRequest):
    """The file or the folder for the result can't be written; the message says which files are there already."""

    code = "output_not_written"
    cause = (
        "The place that was named for the result is full, read-only, somebody else's, or a file where a folder is due."
    )
    remedy = "Make room or name another place, and run the command again: the result was not kept."
