"""What of a model can't be built, run, or cut correctly."""

from __future__ import annotations

from coppice.errors.families import Refused, UserCodeError


class ClassFileInvalid(UserCodeError):
    """The class file has a syntax error, a missing import, or not the class that was named."""

    code = "class_file_invalid"
    cause = (
        "The class file must be one Python file that can be imported by itself: syntax, imports and the named class "
        "are checked."
    )
    remedy = (
        "Put everything that the model needs into that file. Only torch and the packages that the message names can "
        "be imported."
    )


class ConstructorFailed(UserCodeError):
    """`model_name()` raised, or needs arguments."""

    code = "constructor_failed"
    cause = "The model is built by calling its class, without arguments or with `model_args`, and that call raised."
    remedy = (
        "Send the arguments that the class needs as `model_args`, give them defaults, or name a function of the file "
        "that builds the model."
    )


class ForwardFailed(UserCodeError):
    """The model's forward raised on the example input."""

    code = "forward_failed"
    cause = "The model raised when it was run on an example input of the size that was given."
    remedy = (
        "Check `input_size` first: channels before height and width for PyTorch. Then run `model(torch.zeros(1, "
        "*size))` yourself."
    )


class UnsupportedLayer(Refused):
    """A layer that is neither known nor safely passed over."""

    code = "unsupported_layer"
    cause = "A layer does something for which Coppice has no rule, in a place where passing over it would be guessing."
    remedy = (
        "Replace the layer with known ones, omit it where the message allows that, export the model to ONNX, or add a "
        "rule: the documents show how."
    )


class CriterionUnsuitable(Refused):
    """The criterion that was asked for has nothing to say of any channel of the model."""

    code = "criterion_unsuitable"
    cause = (
        "The criterion reads something that no channel of this model has: a scale of BatchNorm, for example, in a "
        "model without BatchNorm."
    )
    remedy = "Choose another criterion, or none: the default judges every model."


class TargetUnreachable(Refused):
    """No cut of this model does what was asked; the message says what can be reached."""

    code = "target_unreachable"
    cause = (
        "What must stay (inputs, outputs, omitted and frozen layers, one channel of every group) is already more than "
        "the target allows."
    )
    remedy = (
        "Ask for less, as much as the message says can be reached; omit fewer layers; or see in the report's frozen "
        "list what could be made prunable."
    )


class NothingToPrune(Refused):
    """No channel of the model can be removed; the reasons are in the message."""

    code = "nothing_to_prune"
    cause = (
        "Every channel is fixed: by the model's outputs, by an operation without a rule, by `omit`, or because each "
        "group has one channel left."
    )
    remedy = (
        "See the reasons in the message or in `coppice inspect`; omit fewer layers, or replace the operation that "
        "freezes most."
    )


class OutputsNotNumbers(Refused):
    """The model gives NaN on its example input, so that nothing can be compared."""

    code = "outputs_not_numbers"
    cause = (
        "The model computes NaN on the example input, so the cut one can't be compared with it. Weights that diverged "
        "in training are the usual reason."
    )
    remedy = (
        "Check the weights for NaN, and the model on an input of your own; or send samples, which are used as example."
    )


class VerificationFailed(Refused):
    """The pruned model does not equal the masked original, and no smaller cut does."""

    code = "verification_failed"
    cause = (
        "The cut model gave other outputs than the whole one with the same channels set to zero. Coppice does not "
        "give out what it could not prove."
    )
    remedy = (
        "Please report it with the model, if you can share it. Omitting the layer that the message names often helps "
        "meanwhile."
    )


class ReloadFailed(Refused):
    """The written file did not load back, or gave other outputs, in a clean process."""

    code = "reload_failed"
    cause = (
        "The result was loaded in a fresh process with the framework alone, as you would, and that failed or gave "
        "other outputs."
    )
    remedy = (
        "Check that the class file builds the model the same way every time, without state from outside. If it does, "
        "please report it."
    )


class NothingToQuantize(Refused):
    """No layer of the model multiplies with stored weights."""

    code = "nothing_to_quantize"
    cause = "Quantization stores weights in fewer bits. This model stores none: it has none, or computes them anew."
    remedy = "Store the weights as they come out: `remove_weight_norm`, for example. Then send the model again."
