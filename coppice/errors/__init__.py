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

from coppice.errors.calls import (
    BodyInvalid,
    CrossSite,
    FieldsMaskInvalid,
    IdempotencyConflict,
    InputSizeInvalid,
    KeyInvalid,
    MethodNotAllowed,
    ModelNotSaved,
    NotAModel,
    OutputNotWritten,
    ParameterInvalid,
    ParameterMissing,
    PercentOutOfRange,
    PrecisionImpossible,
    QuotaExceeded,
    RangeImpossible,
    ResultExpired,
    ResultNotReady,
    SamplesMissing,
    ShareExceeded,
    TooManyRequests,
    UnknownAddress,
    UnknownArtifact,
    UnknownCriterion,
    UnknownLayer,
    UnknownTransaction,
)
from coppice.errors.families import (
    AccessError,
    BadRequest,
    BadUpload,
    CoppiceError,
    InternalError,
    LimitExceeded,
    Refused,
    UserCodeError,
)
from coppice.errors.models import (
    ClassFileInvalid,
    ConstructorFailed,
    CriterionUnsuitable,
    ForwardFailed,
    NothingToPrune,
    NothingToQuantize,
    OutputsNotNumbers,
    ReloadFailed,
    TargetUnreachable,
    UnsupportedLayer,
    VerificationFailed,
)
from coppice.errors.running import (
    DatabaseUnavailable,
    DiskLimit,
    IsolationUnavailable,
    JobCrashed,
    NotInstalled,
    OutOfMemory,
    ServiceUnavailable,
    StorageUnavailable,
    TimeLimit,
    WorkerDied,
)
from coppice.errors.uploads import (
    AlreadyQuantized,
    DatasetInvalid,
    EmptyFile,
    ExternalDataMissing,
    HostileFile,
    ModelInvalid,
    PickledModule,
    StateDictMismatch,
    TruncatedFile,
    UnknownFormat,
    UnsupportedMediaType,
    UploadStalled,
    UploadTooLarge,
    VersionUnsupported,
    WeightsNotFinite,
    WeightsOnly,
)

__all__ = [
    "BY_CODE",
    "AccessError",
    "AlreadyQuantized",
    "BadRequest",
    "BadUpload",
    "BodyInvalid",
    "ClassFileInvalid",
    "ConstructorFailed",
    "CoppiceError",
    "CriterionUnsuitable",
    "CrossSite",
    "DatabaseUnavailable",
    "DatasetInvalid",
    "DiskLimit",
    "EmptyFile",
    "ExternalDataMissing",
    "FieldsMaskInvalid",
    "ForwardFailed",
    "HostileFile",
    "IdempotencyConflict",
    "InputSizeInvalid",
    "InternalError",
    "IsolationUnavailable",
    "JobCrashed",
    "KeyInvalid",
    "LimitExceeded",
    "MethodNotAllowed",
    "ModelInvalid",
    "ModelNotSaved",
    "NotAModel",
    "NotInstalled",
    "NothingToPrune",
    "NothingToQuantize",
    "OutOfMemory",
    "OutputNotWritten",
    "OutputsNotNumbers",
    "ParameterInvalid",
    "ParameterMissing",
    "PercentOutOfRange",
    "PickledModule",
    "PrecisionImpossible",
    "QuotaExceeded",
    "RangeImpossible",
    "Refused",
    "ReloadFailed",
    "ResultExpired",
    "ResultNotReady",
    "SamplesMissing",
    "ServiceUnavailable",
    "ShareExceeded",
    "StateDictMismatch",
    "StorageUnavailable",
    "TargetUnreachable",
    "TimeLimit",
    "TooManyRequests",
    "TruncatedFile",
    "UnknownAddress",
    "UnknownArtifact",
    "UnknownCriterion",
    "UnknownFormat",
    "UnknownLayer",
    "UnknownTransaction",
    "UnsupportedLayer",
    "UnsupportedMediaType",
    "UploadStalled",
    "UploadTooLarge",
    "UserCodeError",
    "VerificationFailed",
    "VersionUnsupported",
    "WeightsNotFinite",
    "WeightsOnly",
    "WorkerDied",
    "kind_of",
]


def _tree(root: type[CoppiceError]) -> Iterator[tuple[str, type[CoppiceError]]]:
    yield root.code, root
    for child in root.__subclasses__():
        yield from _tree(child)


#: code -> class, for turning a child's failure.json back into the error that it was.
BY_CODE: dict[str, type[CoppiceError]] = dict(_tree(CoppiceError))


def kind_of(code: str) -> type[CoppiceError]:
    """The class of a code; the tree's root for one of a newer version."""
    return BY_CODE.get(code, CoppiceError)


if len(BY_CODE) < len(list(_tree(CoppiceError))):
    raise RuntimeError("two errors have the same code")
