"""The result of an earlier job as the files of a new one (`source_txid`): which artifact is which part.

The files are copied within the store, since the earlier job's are deleted when its retention ends. Not here: the body
of the call (`http.upload`), which may bring more files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coppice.errors import ParameterInvalid, ResultExpired, ResultNotReady, UnknownTransaction
from coppice.http import answers
from coppice.http.intake import INTAKES, Intake
from coppice.http.parts import UploadPart, file_name, find_part
from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.records.request import Part, Task
from coppice.storage import Storage, StoredFile, upload_key

_FIELD = "source_txid"
#: Framework -> part of the new job -> artifact of the earlier one.
_TAKEN: Mapping[Framework, Mapping[Part, str]] = {
    Framework.PYTORCH: {Part.WEIGHTS: "state_dict", Part.CLASS_DEF: "class_def"},
    Framework.KERAS: {Part.MODEL: "model"},
    Framework.ONNX: {Part.MODEL: "model"},
}
#: What the earlier request says of how its model is built and run, which a cut leaves as it is.
_ATTRIBUTES = ("input_size", "model_name", "model_args")
#: What a job leaves behind that is no model to start from, and what to do.
_NO_MODEL: Mapping[Task, str] = {
    Task.INSPECT: "it was an inspection, which makes no model. Prune first.",
    Task.SWEEP: "it was a sweep, which makes a model for each ratio. Prune by the one that you choose, and give the "
    "txid of that.",
    Task.QUANTIZE: "its model is quantized already, and rounding twice loses twice. Send the model in floats, or give "
    "the txid of the prune call that made it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a finished job gives to the next one."""

    values: Mapping[str, object]
    artifacts: Mapping[UploadPart, StoredArtifact]

    @property
    def names(self) -> dict[UploadPart, str]:
        """The names under which its files are kept."""
        return {part: file_name(part, stored.artifact.file) for part, stored in self.artifacts.items()}


def earlier(intake: Intake, desk: Desk, client: str, txid: str) -> Earlier:
    """What a job of that client gives; raises UnknownTransaction, ResultNotReady, ResultExpired, ParameterInvalid."""
    try:
        job = desk.job(txid, client)
    except UnknownTransaction as e:
        raise UnknownTransaction(e.message, field=_FIELD) from e
    if job.state is not JobState.DONE:
        kind = ResultExpired if job.state is JobState.EXPIRED else ResultNotReady
        raise kind(f"{_FIELD}: there is no result of {txid}. {answers.status(job).message}", field=_FIELD)
    _check_task(intake, job)
    by_name = {stored.artifact.name: stored for stored in job.artifacts}
    framework = job.request.framework
    for name in _TAKEN[framework].values():
        if name not in by_name:
            raise ParameterInvalid(
                f"{_FIELD}: the result of {txid} has no artifact {name}; its report says why. Send the files.",
                field=_FIELD,
            )
    taken = {part: by_name[name] for part, name in _TAKEN[framework].items()}
    return Earlier(
        values={name: getattr(job.request, name) for name in _ATTRIBUTES if getattr(job.request, name)},
        artifacts={find_part(intake, part, stored.artifact.file): stored for part, stored in taken.items()},
    )


def _check_task(intake: Intake, job: Job) -> None:
    asked = job.request
    if asked.task in _NO_MODEL:
        raise ParameterInvalid(f"{_FIELD}: {_NO_MODEL[asked.task]}", field=_FIELD)
    if asked.framework not in intake.frameworks:
        right = (name for name, one in INTAKES.items() if one.frameworks == {asked.framework})
        call = next(name for name in right if INTAKES[name].task is intake.task)
        raise ParameterInvalid(f"{_FIELD}: that is a {asked.framework} model. Use {call}.", field=_FIELD)


async def copied(found: Earlier, txid: str, storage: Storage) -> list[StoredFile]:
    """Its files as those of the job `txid`; raises ResultExpired where they went in the meantime."""
    try:
        return [
            await storage.copy(stored.key, upload_key(txid, part.part, found.names[part]), sha256=stored.sha256)
            for part, stored in found.artifacts.items()
        ]
    except FileNotFoundError as e:
        raise ResultExpired(f"{_FIELD}: the result was deleted meanwhile. Send the files.", field=_FIELD) from e
