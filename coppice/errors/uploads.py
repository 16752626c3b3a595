"""What is wrong with an uploaded file."""

from __future__ import annotations

from coppice.errors.families import BadUpload


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
