"""The base of what watches operators at torch's dispatcher."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """A TorchDispatchMode that does without torch's compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would import the compiler at the first operator, only to tell it that it is not wanted here: a quarter
        # of the time that it takes to start the process of a job.
        return False
