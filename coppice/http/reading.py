"""From the texts and files of a call to `Request` and `Terms`: known names only, nothing missing or contradictory.

Not here: the table of parameters (`http.parameters`), the multipart body (`http.upload`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coppice.errors import ParameterInvalid, ParameterMissing
from coppice.http.intake import INTAKES, Intake
from coppice.http.names import unknown_name
from coppice.http.parameters import PARAMETERS, parameters_of
from coppice.http.parameters import names as names_of
from coppice.http.parts import UploadPart, frameworks_of, part_names, parts_of
from coppice.jobs.addresses import refuse_inside
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request, Task
from coppice.records.samples_needed import check_samples
from coppice.records.terms import Terms
from coppice.settings import Settings


def read_parameters(intake: Intake, given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Values by attribute of `Request` and of `Terms`, of those that were given.

    Raises ParameterInvalid for a name that the call doesn't have and for two values of one parameter, and whatever
    the value itself is refused with. An empty value is none.
    """
    names = {name: parameter for parameter in parameters_of(intake) for name in names_of(parameter)}
    texts: dict[str, str] = {}
    values: dict[str, object] = {}
    for name, text in given:
        parameter = names.get(name)
        if parameter is None:
            elsewhere = {other for each in PARAMETERS for other in names_of(each)} | part_names(intake)
            raise unknown_name(intake.call, name, "parameter", names, elsewhere)
        if not text.strip():
            continue
        if texts.setdefault(parameter.name, text) != text:
            raise ParameterInvalid(
                f"{parameter.name} is given twice: {texts[parameter.name]!r} and {text!r}. Give it once.",
                field=parameter.name,
            )
        values[parameter.attribute] = parameter.read(text)
    named = values.get("framework")
    if named is not None and named not in intake.frameworks:
        (taken,) = intake.frameworks
        raise ParameterInvalid(
            f"model_type={named} contradicts the call: {intake.call} takes {taken} models. "
            f"Use {_call_for(named, intake.task)}, or leave model_type out.",
            field="model_type",
        )
    return values


def to_request(intake: Intake, values: Mapping[str, object], files: Mapping[UploadPart, str]) -> Request:
    """The job that was asked for; raises for the first required parameter or part that is missing."""
    framework = _framework(intake, values, files)
    said = {parameter.attribute for parameter in PARAMETERS if parameter.of is Request} & values.keys()
    complete = {**{name: values[name] for name in said}, "framework": framework, "task": intake.task}
    for parameter in parameters_of(intake):
        if framework not in parameter.calls:
            if parameter.attribute in values:
                raise ParameterInvalid(f"{parameter.name} means nothing for a {framework} model.", field=parameter.name)
            continue
        missed = parameter.missed(framework, intake.task, {*complete, *(part.part for part in files)})
        if missed is not None:
            raise missed(
                f"{parameter.name} is missing. Add e.g. {parameter.name}={parameter.example}. "
                f"{parameter.description.replace('`', '')}",
                field=parameter.name,
            )
    given = {part.part: name for part, name in files.items()}
    for part in parts_of(intake):
        if framework in part.calls and part.required and part.part not in given:
            raise ParameterMissing(
                f"{part.part} is missing. Send it as a file part, e.g. curl --form {part.part}=@{part.example}.",
                field=part.part,
            )
    request = Request.model_validate({**complete, "files": given})
    check_samples(request, Part.DATASET in given)
    return request


def to_terms(values: Mapping[str, object], settings: Settings) -> Terms:
    """How the job is to be handled; raises ParameterInvalid for what this service doesn't have or allow."""
    said = {parameter.attribute for parameter in PARAMETERS if parameter.of is Terms} & values.keys()
    asked = {"queue": settings.queue_names[0], **{name: values[name] for name in said}}
    terms = Terms.model_validate(asked)
    if terms.queue not in settings.queue_names:
        raise ParameterInvalid(
            f"queue={terms.queue[:100]!r} is none of this service's: {', '.join(settings.queue_names)}.", field="queue"
        )
    if terms.time_limit is not None and terms.time_limit > settings.job_seconds:
        raise ParameterInvalid(
            f"time_limit={terms.time_limit} is more than the {settings.job_seconds} s that this service gives a job.",
            field="time_limit",
        )
    if terms.webhook is not None:
        refuse_inside(terms.webhook, private=settings.webhook_private)
    return terms


def _framework(intake: Intake, values: Mapping[str, object], files: Mapping[UploadPart, str]) -> Framework:
    """The framework that the call, `model_type` and the files agree on; raises where they don't, or don't say."""
    left = intake.frameworks
    for part, given in files.items():
        taken = frameworks_of(intake, part, given)
        if not left & taken:
            raise ParameterInvalid(
                f"{part.part} is no part of a {'/'.join(left)} model, as which the other files came.", field=part.part
            )
        left &= taken
    named = values.get("framework")
    if named is not None and named not in left:
        raise ParameterInvalid(
            f"model_type={named} contradicts the files, which are those of a {'/'.join(left)} model.",
            field="model_type",
        )
    if named is not None:
        return Framework(str(named))
    if not files and len(left) > 1:
        raise ParameterMissing(
            "model is missing. Send a Keras model as the file part model, a PyTorch model as weights and class_def.",
            field="model",
        )
    # Of what the file may be, what the parameters mean something for; `formats.recognised` looks into the file.
    meant = [parameter.calls for parameter in PARAMETERS if parameter.attribute in values]
    fitting = [framework for framework in Framework if framework in left and all(framework in one for one in meant)]
    return min(fitting or left, key=list(Framework).index)


def _call_for(framework: object, task: Task) -> str:
    return next(name for name, intake in INTAKES.items() if intake.frameworks == {framework} and intake.task is task)
