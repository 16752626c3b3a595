"""What is wrong with an uploaded file."""

from __future__ import annotations

from coppice.errors.families import BadUpload


class UploadTooLarge(BadUpload):
    """An upload passes the size limit."""

    code = "upload_too_large"
    cause = "The service takes uploads up to a size that its operator has set."
    remedy = (
        "Send the weights without optimizer state and the like, or compress in your own process with `coppice prune`; "
        "an operator can raise the limit."
    )
    http_status = 413


class UploadStalled(BadUpload):
    """Nothing more came of an upload for too long."""

    code = "upload_stalled"
    cause = "No byte of the upload came for a while, so the service gave up waiting."
    remedy = "Send it again over a better connection. `coppice.Client` tries again by itself."
    http_status = 408


class UnsupportedMediaType(BadUpload):
    """The body is not multipart/form-data, or a file has a suffix that the call does not take."""

    code = "unsupported_media_type"
    cause = "The body is no multipart/form-data, or the name of a file has a suffix that the part does not take."
    remedy = "Send files as a form (`curl -F model=@file`), under names that end as the message says."
    http_status = 415


class EmptyFile(BadUpload):
    """A file has no bytes."""

    code = "empty_file"
    cause = "The file has no bytes: saving it failed, or the wrong path was sent."
    remedy = "Look at its size, save it again, send it again."


class UnknownFormat(BadUpload):
    """The bytes are none of the formats that the call takes."""

    code = "unknown_format"
    cause = "The suffix of the file's name, or its first bytes, are those of no format that the call takes."
    remedy = "Send one of the formats that the message names. A model of another framework may be exported to ONNX."


class TruncatedFile(BadUpload):
    """The file is of a known format but damaged."""

    code = "truncated_file"
    cause = (
        "The file begins like its format, but what follows is damaged or missing: often an interrupted download or "
        "copy."
    )
    remedy = "Load it in your own framework first. If that works, save it anew and send the new file."


class WeightsOnly(BadUpload):
    """A Keras file that holds weights and no model configuration."""

    code = "weights_only"
    cause = "`save_weights` writes weights without the layers around them, and without layers nothing can be cut."
    remedy = "Save the whole model with `model.save(...)` and send that file."


class HostileFile(BadUpload):
    """A file uses a feature that is only of use in an attack: external links, path tricks, bombs."""

    code = "hostile_file"
    cause = (
        "The file uses something that no model needs and that attacks use: links to other files, paths that lead out "
        "of their folder, archives that unpack to huge sizes."
    )
    remedy = (
        "Save the model again with your framework's own save function, in one file. If that file is refused too, "
        "please report it."
    )


class PickledModule(BadUpload):
    """A `.pth` that holds a whole pickled module instead of a state dict."""

    code = "pickled_module"
    cause = (
        "`torch.save(model)` pickles a whole object, which runs code when it is opened. Coppice opens no pickled code."
    )
    remedy = (
        "Save `model.state_dict()` instead and send it with the class file: `torch.save(model.state_dict(), "
        "'weights.pth')`."
    )


class StateDictMismatch(BadUpload):
    """The state dict does not fit the class."""

    code = "state_dict_mismatch"
    cause = (
        "The weights have other names or shapes than the class builds: another version of the class, other arguments, "
        "or a wrapper such as DataParallel."
    )
    remedy = (
        "Send the class file with which the weights were saved, and see the message for the first names that differ. "
        "`model.load_state_dict(...)` must work in your own process."
    )


class DatasetInvalid(BadUpload):
    """The samples do not open, or are not what the model takes."""

    code = "dataset_invalid"
    cause = "The samples do not open, are empty, or have another shape or type than the model takes."
    remedy = (
        "Send them as one of the forms in the reference of formats, preprocessed exactly as the model gets them in "
        "training."
    )


class ModelInvalid(BadUpload):
    """A file opens, but the model in it contradicts itself or is not whole."""

    code = "model_invalid"
    cause = (
        "The file opens, but what it says of the model does not fit together: layers, their wiring and their weights, "
        "or one of them is missing. Files that were edited by hand or by another tool are like that."
    )
    remedy = "Load and run the model in its own framework. If that works, save it anew and send the new file."


class AlreadyQuantized(BadUpload):
    """The weights have few bits already, so that they can't be cut or quantized as numbers."""

    code = "already_quantized"
    cause = "The model was quantized, or stored in half precision, before. Coppice starts from 32-bit floats."
    remedy = "Send the model from before that step, in 32-bit floats, and let Coppice prune and quantize it."


class VersionUnsupported(BadUpload):
    """The file was written for a version of its format that is too old or too new."""

    code = "version_unsupported"
    cause = "The file is of a version of its format that is older, or newer, than what Coppice reads."
    remedy = "Convert or export the model to a version that the message names."


class ExternalDataMissing(BadUpload):
    """An ONNX file keeps its weights in other files, which were not sent."""

    code = "external_data_missing"
    cause = "ONNX can keep weights in files beside the model. Only the model was sent."
    remedy = (
        "Send one zip of the model and its data files, or export the model in one file: "
        "`torch.onnx.export(..., external_data=False)`."
    )


class WeightsNotFinite(BadUpload):
    """Weights are NaN or infinite."""

    code = "weights_not_finite"
    cause = "Some weights are NaN or infinite, most often because training diverged. No scale fits such numbers."
    remedy = "Send an earlier checkpoint, or train with a smaller learning rate."
