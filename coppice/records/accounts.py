"""What a job of each task leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

from coppice.records.report import Account, Inspection, Report
from coppice.records.request import Task
from coppice.records.sweep import Sweep

#: Its account.
ACCOUNTS: Mapping[Task, type[Account]] = {
    Task.PRUNE: Report,
    Task.INSPECT: Inspection,
    Task.SWEEP: Sweep,
    Task.QUANTIZE: Report,
}

#: The artifact that is its result.
RESULTS: Mapping[Task, str] = {
    Task.PRUNE: "model",
    Task.INSPECT: "inspection",
    Task.SWEEP: "curve",
    Task.QUANTIZE: "quantized",
}
