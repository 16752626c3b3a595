"""The heart: a model flows through in one direction.

read -> trace -> score -> plan -> apply -> verify -> restore -> measure -> write -> reload -> quantize
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from coppice import rules
from coppice.channels import Group
from coppice.errors import NothingToPrune
from coppice.formats import AS_IT_CAME, MODEL_PART, Files, open_upload, recognised
from coppice.formats.source import Source
from coppice.pages import render
from coppice.quantizing import Dense, quantized
from coppice.records.accounts import RESULTS
from coppice.records.plan import Plan
from coppice.records.report import (
    Artifact,
    Check,
    FrozenReport,
    GroupReport,
    InputFile,
    Inspection,
    Progress,
    Quality,
    Report,
    Tell,
    Trial,
    Verification,
)
from coppice.records.request import Heads, Part, Request, Task
from coppice.steps import account, inspection
from coppice.steps.layers import by_layer
from coppice.steps.line import Prepared
from coppice.steps.macs import count_macs
from coppice.steps.make_plan import keeps_output
from coppice.steps.measure import disappointments, machine, measure
from coppice.steps.provenance import input_files, versions
from coppice.steps.replan import replayed, shapes
from coppice.steps.restore import Basis, restore, usable
from coppice.steps.score import score
from coppice.steps.summary import summary
from coppice.steps.target import allocated, find
from coppice.tracing import Network, Traced, trace
from coppice.version import __version__

Inputs = Mapping[Part, InputFile]
_COSTS = ("before", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A cut model with its account, before anything is written."""

    module: nn.Module
    plan: Plan
    groups: tuple[GroupReport, ...]
    frozen: tuple[FrozenReport, ...]
    verification: Verification
    quality: Quality | None
    basis: Basis | None  # of the samples, for what comes after
    trials: tuple[Trial, ...]
    criterion: str  # what decided which channels go
    notes: tuple[str, ...]

    @property
    def dense(self) -> Dense:
        """What is quantized of it."""
        return Dense(module=self.module, plan=self.plan, basis=self.basis)


def run(request: Request, files: Files, out: Path, progress: Tell) -> Report:
    """Prune the uploaded model and write every artifact into `out`; raises a CoppiceError that says what to do.

    Nothing is returned that was not verified, written, loaded back in a clean process and compared.
    """
    progress(Progress(step="read", fraction=0.0))
    source = open_upload(request, files)
    inputs = input_files(request, files)
    if Part.PLAN in files:
        plan = Plan.read(files[Part.PLAN], request.files.get(Part.PLAN, "plan"))
        pruned = replay(source.network, plan, request, progress)
    else:
        pruned = prune(source.network, request, progress)
    report = deliver(source, pruned, request, inputs, out, progress)
    return with_bundle(report, out)


def deliver(source: Source, pruned: Pruned, request: Request, inputs: Inputs, out: Path, progress: Tell) -> Report:
    """Measure a cut of what was read from `inputs`, write its artifacts into the folder `out`, and load them back.

    Then quantize it, where that was asked for.
    """
    report = deliver_floats(source, pruned, request, inputs, out, progress)
    return quantized(source, pruned.dense, report, out, progress)


def deliver_floats(
    source: Source, pruned: Pruned, request: Request, inputs: Inputs, out: Path, progress: Tell
) -> Report:
    """As `deliver`, but nothing is quantized."""
    progress(Progress(step="measure", fraction=0.6))
    report = report_on(source.network, pruned, request, inputs)
    progress(Progress(step="write", fraction=0.7))
    artifacts = (*source.write(pruned.module, pruned.plan, report, out), _plan(pruned.plan, out))
    progress(Progress(step="reload", fraction=0.85))
    source.reload(pruned.module, artifacts, out)
    report = report.model_copy(update={"artifacts": artifacts, "notes": (*report.notes, *source.notes)})
    by_name = {artifact.name: out / artifact.file for artifact in artifacts}
    written = next(by_name[name] for name in AS_IT_CAME[request.framework] if name in by_name)
    return _completed(report, source, (inputs[MODEL_PART[request.framework]].bytes, written.stat().st_size))


def _completed(report: Report, source: Source, sizes: tuple[int, int]) -> Report:
    """The report with what is known once files are written: their sizes, and how fast the format's own runtime is."""
    costs = []
    latencies = source.latencies or (None, None)
    for cost, size, latency in zip((report.before, report.after), sizes, latencies, strict=True):
        measured: dict[str, float] = {"file_bytes": size}
        if latency is not None:
            measured |= {"latency_ms": latency.milliseconds, "latency_spread_ms": latency.spread}
        costs.append(cost.model_copy(update=measured))
    before, after = costs
    update = {"before": before, "after": after, "warnings": disappointments(before, after)}
    return report.model_copy(update=update)


def quantize(request: Request, files: Files, out: Path, progress: Tell) -> Report:
    """As `run`, but nothing is cut: the uploaded model as it is, in fewer bits."""
    progress(Progress(step="read", fraction=0.0))
    source, inputs = open_upload(request, files), input_files(request, files)
    return quantize_source(source, request, inputs, out, progress)


def quantize_source(source: Source, request: Request, inputs: Inputs, out: Path, progress: Tell) -> Report:
    """Quantize what was read from `inputs`; a live model has none."""
    pruned = uncut(*usable(source.network))
    progress(Progress(step="measure", fraction=0.2))
    report = report_uncut(source.network, pruned, request, inputs)
    return with_bundle(quantized(source, pruned.dense, report, out, progress), out)


def uncut(network: Network, basis: Basis | None) -> Pruned:
    """A model as it is, judged like a cut of it."""
    judged = restore(network, basis, network.module, Plan(kept={}), wanted=False)
    return Pruned(
        module=judged.module,
        plan=Plan(kept={}),
        groups=(),
        frozen=(),
        verification=Verification(check=Check.NONE),
        quality=judged.quality,
        basis=basis,
        trials=(),
        criterion="none",
        notes=network.notes,
    )


def report_uncut(network: Network, pruned: Pruned, request: Request, inputs: Inputs) -> Report:
    """As `report_on`, of a model that stays whole: its file is the one that was sent."""
    report = report_on(network, pruned, request, inputs)
    file = inputs.get(MODEL_PART[request.framework])
    sent = {"file_bytes": None if file is None else file.bytes}
    return report.model_copy(update={cost: getattr(report, cost).model_copy(update=sent) for cost in _COSTS})


def report_on(network: Network, pruned: Pruned, request: Request, inputs: Inputs | None = None) -> Report:
    """Measure a cut and say everything of it that is known before files are written; a live model has no files."""
    before, after = measure(network, pruned.module)
    return Report(
        coppice=__version__,
        request=request,
        versions=versions(request.framework),
        inputs=dict(inputs or {}),
        machine=machine(),
        groups=pruned.groups,
        frozen=pruned.frozen,
        verification=pruned.verification,
        criterion=pruned.criterion,
        quality=pruned.quality,
        trials=pruned.trials,
        before=before,
        after=after,
        layers=by_layer(network.module, pruned.module, network.sample, account.Names(network).layer_of),
        warnings=disappointments(before, after),
        summary=summary(network, pruned.module),
        notes=pruned.notes,
    )


def inspect(request: Request, files: Files, out: Path, progress: Tell) -> Inspection:
    """As `run`, but nothing is pruned: the account says what could be; it and its page are the only artifacts."""
    progress(Progress(step="read", fraction=0.0))
    request = recognised(request, files)
    network = open_upload(request, files).network
    progress(Progress(step="trace", fraction=0.5))
    artifact = Artifact(name=RESULTS[Task.INSPECT], file="inspection.json", media_type="application/json")
    page = Artifact(name="report_html", file="inspection.html", media_type="text/html")
    update = {"artifacts": (artifact, page), "inputs": input_files(request, files)}
    found = inspect_network(network, request).model_copy(update=update)
    (out / artifact.file).write_text(found.model_dump_json(indent=2))
    (out / page.file).write_text(render(found), encoding="utf-8")
    return found


def inspect_network(network: Network, request: Request) -> Inspection:
    """The groups of an open model that could be pruned and the channels that can't, with reasons."""
    channels, names = _traced(network, request.heads).channels, account.Names(network)
    kept = _omitted(channels.groups, names, request.omit)
    sample = network.sample
    macs = count_macs(network.module, sample)
    allocation = allocated(request, channels, names)
    going = [number for number in range(len(channels.groups)) if number not in kept]
    lines = account.groups(channels, names, allocation, going, kept)
    groups = inspection.with_shares(lines, channels.groups, network.module, sample, macs)
    frozen = account.frozen(channels, names)
    return Inspection(
        coppice=__version__,
        request=request.model_copy(update={"task": Task.INSPECT}),
        versions=versions(request.framework),
        groups=groups,
        frozen=frozen,
        summary=inspection.table(groups, frozen),
        notes=network.notes,
        parameters=sum(entry.numel() for entry in network.module.parameters()),
        macs=macs,
    )


def prune(network: Network, request: Request, progress: Tell) -> Pruned:
    """Trace, score, plan, apply and verify: the largest cut within the request that equals the masked original.

    Then its kept weights are repaired, where there are samples. Raises NothingToPrune when channels were asked to go
    and none may, with the reasons.
    """
    return cut(prepare(network, request, progress), request, progress)


def prepare(network: Network, request: Request, progress: Tell) -> Prepared:
    """Trace and score: all that does not depend on how much is cut."""
    progress(Progress(step="trace", fraction=0.1))
    network, basis = usable(network)
    traced, names = _traced(network, request.heads), account.Names(network)
    omitted = _omitted(traced.channels.groups, names, request.omit)
    progress(Progress(step="score", fraction=0.25))
    scored = score(network, traced.channels, request.criterion, request.seed)
    return Prepared(network=network, traced=traced, names=names, scored=scored, omitted=omitted, basis=basis)


def cut(prepared: Prepared, request: Request, progress: Tell) -> Pruned:
    """Plan, apply, verify and repair one cut of a model that was traced and scored; raises as `prune` does."""
    progress(Progress(step="verify", fraction=0.3))
    network, traced, names = prepared.network, prepared.traced, prepared.names
    found = find(prepared, request)
    reasons = {**prepared.omitted, **found.refused}
    groups = account.groups(traced.channels, names, found.allocation, found.cut.groups, reasons)
    frozen = account.frozen(traced.channels, names)
    if (request.percent or any(request.ratios.values())) and not any(group.removed for group in groups):
        raise NothingToPrune(_why_nothing(request.percent, groups, frozen))
    progress(Progress(step="restore", fraction=0.5))
    restored = restore(network, prepared.basis, found.cut.module, found.cut.plan, wanted=request.restore)
    return Pruned(
        module=restored.module,
        plan=found.cut.plan.model_copy(update={"shapes": shapes(network.module), "heads": request.heads}),
        groups=groups,
        frozen=frozen,
        verification=found.cut.verification,
        quality=restored.quality,
        basis=prepared.basis,
        trials=found.trials,
        criterion=prepared.scored.criterion,
        notes=(*network.notes, *prepared.scored.notes, *found.notes, *restored.notes),
    )


def replay(network: Network, plan: Plan, request: Request, progress: Tell) -> Pruned:
    """As `prune`, by a plan that is given: nothing is scored. Raises ParameterInvalid where the plan does not fit."""
    progress(Progress(step="trace", fraction=0.1))
    network, basis = usable(network)
    traced, names = _traced(network, plan.heads), account.Names(network)
    progress(Progress(step="verify", fraction=0.3))
    found = replayed(network, traced, names, plan)
    progress(Progress(step="restore", fraction=0.5))
    restored = restore(network, basis, found.cut.module, found.cut.plan, wanted=request.restore)
    return Pruned(
        module=restored.module,
        plan=found.cut.plan,
        groups=account.groups(traced.channels, names, found, found.cut.groups, {}),
        frozen=account.frozen(traced.channels, names),
        verification=found.cut.verification,
        quality=restored.quality,
        basis=basis,
        trials=(),
        criterion="plan",
        notes=(*network.notes, *restored.notes),
    )


def _traced(network: Network, heads: Heads) -> Traced:
    return trace(network, rules.rule_of, whole_heads=heads is Heads.WHOLE)


def _omitted(groups: Sequence[Group], names: account.Names, omit: Sequence[str]) -> dict[int, str]:
    tensors = names.tensors(omit)
    kept = {number: "omitted by the request" for number, group in enumerate(groups) if keeps_output(group, tensors)}
    held = {groups[number].bundle: names.producers(groups[number])[0] for number in kept}
    coupled = {
        number: f"keeps the same share as {held[group.bundle]}, which the request omits"
        for number, group in enumerate(groups)
        if group.bundle in held
    }
    return coupled | kept


def _why_nothing(percent: float, groups: Sequence[GroupReport], frozen: Sequence[FrozenReport]) -> str:
    reasons = [
        f"{group.name}: {group.reason or f'{percent:g} of its {group.channels} channels rounds to none'}"
        for group in groups
    ]
    reasons += [f"{', '.join(entry.layers)}: {entry.reason}" for entry in frozen]
    why = "; ".join(reasons[:12]) or "No layer in it has weights that make channels"
    return f"No channel of this model can be removed. {why}."


def _plan(plan: Plan, out: Path) -> Artifact:
    artifact = Artifact(name="plan", file="plan.json", media_type="application/json")
    (out / artifact.file).write_text(plan.model_dump_json())
    return artifact


def with_report(report: Report, out: Path, *more: Artifact) -> Report:
    """The report, and its page, as the last of its artifacts but `more`, which it names before they are made."""
    file = Artifact(name="report", file="report.json", media_type="application/json")
    page = Artifact(name="report_html", file="report.html", media_type="text/html")
    complete = report.model_copy(update={"artifacts": (*report.artifacts, file, page, *more)})
    (out / file.file).write_text(complete.model_dump_json(indent=2))
    (out / page.file).write_text(render(complete), encoding="utf-8")
    return complete


def with_bundle(report: Report, out: Path) -> Report:
    """As `with_report`, and an archive of all artifacts."""
    bundle = Artifact(name="bundle", file="bundle.zip", media_type="application/zip")
    complete = with_report(report, out, bundle)
    with zipfile.ZipFile(out / bundle.file, "w") as archive:  # stored: weights do not compress
        for artifact in complete.artifacts[:-1]:
            archive.write(out / artifact.file, artifact.file)
    return complete
