"""Where untrusted jobs run: a folder in, a folder and a verdict out, and nothing else in between.

    open_runner   tries the isolation that the settings ask for, and opens it
    Runner        runs one job after another, or several at a time
    Limits        what one job may use
    remove        removes a folder that a job could write to
    describe      what isolates jobs on this machine, and why
    examine       the same, with what was tried against it

Not here: what a job does (`coppice.child`), where its files come from and go to (`coppice.jobs`).
"""

from coppice.sandbox.box import remove
from coppice.sandbox.limits import Limits
from coppice.sandbox.opening import Isolation, describe, examine, open_runner
from coppice.sandbox.runner import Runner

__all__ = ["Isolation", "Limits", "Runner", "describe", "examine", "open_runner", "remove"]
