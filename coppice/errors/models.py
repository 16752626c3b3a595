"""What of a model can't be built, run, or cut correctly."""

from __future__ import annotations

from coppice.errors.families import Refused, UserCodeError


class ClassFileInvalid(UserCodeError):
    """The class file has a syntax error, a missing import, or not the class that was named."""

    code = "class_file_invalid"


class ConstructorFailed(UserCodeError):
    """`model_name()` raised, or needs arguments."""

    code = "constructor_failed"


class ForwardFailed(UserCodeError):
    """The model's forward raised on the example input."""

    code = "forward_failed"


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
