"""restore: repair what is left of a cut model from samples of the user's data, without training and without labels.

Tried are the plain cut, the cut with the statistics of its batch norms corrected, the cut with its weights fitted to
what the original computes, and that with branches that make up for what their shortcuts lost (`calibration.repair`).
All are held to the original on samples that nothing was fitted to, and the nearest is given back: never one that is
further from the original there, or classifies fewer of them rightly, than the plain cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from coppice.calibration.repair import Method, repair
from coppice.calibration.survey import Survey, survey
from coppice.calibration.targets import note
from coppice.errors import ForwardFailed
from coppice.records.plan import Plan
from coppice.records.report import AS_CUT, Candidate, Fidelity, Quality
from coppice.steps.apply import copied
from coppice.steps.macs import count_macs
from coppice.steps.quality import Judge, apart
from coppice.tracing import Network
from coppice.tracing.samples import FEWEST, Samples

#: All samples that are fitted to go through the model at once: as many as keep its activations below this, bytes. With
#: the noted outputs (`targets.TARGET_BYTES`) and one product's systems a repair takes about twice as much.
ACTIVATION_BYTES = 768 * 1024 * 1024
#: And as many as keep one pass below so many multiply-accumulates: some ten seconds of one core.
PASS_MACS = 500 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the repairs of all cuts of one model share; `survey` is None where nothing can be fitted."""

    judge: Judge
    samples: Samples
    fitted: Samples
    survey: Survey | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The model that is given back, and what the samples say of it."""

    module: nn.Module
    quality: Quality | None
    notes: tuple[str, ...] = ()


def usable(network: Network) -> tuple[Network, Basis | None]:
    """A judge, and the samples to fit on, from those of a network; without samples where it does not run on them."""
    if network.samples is None:
        return network, None
    try:
        return network, _basis(network, network.samples)
    except (ForwardFailed, MemoryError) as e:
        note = f"The samples were not used, because the model does not run on many of them at once: {e}"
        return replace(network, samples=None, notes=(*network.notes, note)), None


def _basis(network: Network, samples: Samples) -> Basis:
    fitted, held_out = samples.split()
    judge = Judge(network, held_out)
    one = judge.sample_bytes
    most = min(ACTIVATION_BYTES // one, PASS_MACS // max(1, count_macs(network.module, network.sample)))
    some = fitted[slice(0, most)]
    enough = len(some) >= min(FEWEST, len(fitted))
    return Basis(
        judge=judge,
        samples=samples,
        fitted=some,
        survey=survey(network.module, network.sample) if enough else None,
        notes=() if enough else (f"The weights were not repaired: one sample takes {one / 2**20:,.0f} MiB.",),
    )


def restore(network: Network, shared: Basis | None, cut: nn.Module, plan: Plan, *, wanted: bool = True) -> Restored:
    """The nearest to the original of the ways to repair a cut; `cut` itself is left as it is.

    With `wanted` false nothing is repaired, and the samples only judge. Raises ForwardFailed.
    """
    if shared is None:
        return Restored(module=cut, quality=None)
    modules: dict[str, nn.Module] = {AS_CUT: cut}
    fitted: dict[str, tuple[str, ...]] = {AS_CUT: ()}
    notes = list(shared.notes)
    if wanted and plan and shared.survey is not None:
        try:
            noted = note(network.module, plan, shared.survey, shared.fitted.inputs, len(shared.fitted))
            for method in _methods(shared.survey):
                modules[method] = copied(cut)
                fitted[method] = repair(modules[method], noted, shared.survey, shared.fitted.inputs, method)
        except (ForwardFailed, MemoryError) as e:
            modules, fitted = {AS_CUT: cut}, {AS_CUT: ()}
            notes.append(f"The weights were not repaired, because the model does not run on many samples at once: {e}")
    judged = {method: shared.judge.of(module) for method, module in modules.items()}
    best = nearest(judged)
    return Restored(
        module=modules[best],
        quality=Quality(
            samples=len(shared.samples),
            held_out=len(shared.judge.samples),
            rows=() if shared.judge.samples.rows is None else tuple(shared.judge.samples.rows.tolist()),
            distance=shared.judge.distance,
            before=shared.judge.original,
            cut=judged[AS_CUT],
            restored=judged[best],
            candidates=tuple(
                Candidate(method=method, fidelity=fidelity, chosen=method == best)
                for method, fidelity in judged.items()
            ),
            repaired=fitted[best],
            left=_left(shared.survey, fitted[best]) if fitted[best] and shared.survey is not None else {},
        ),
        notes=tuple(notes),
    )


def _methods(seen: Survey) -> list[Method]:
    """What there is to try on this model."""
    methods = [Method.BATCH_NORM] if seen.feeding else []
    methods += [Method.LEAST_SQUARES]
    return [*methods, Method.RESIDUAL] if seen.branching else methods


def nearest(judged: Mapping[str, Fidelity]) -> str:
    """The nearest to the original of those that are right no less often than the plain cut; the first among equals."""
    floor = judged[AS_CUT].accuracy or 0.0
    fit = [method for method, fidelity in judged.items() if (fidelity.accuracy or 0.0) >= floor]
    return min(fit, key=lambda method: apart(judged[method]))


def _left(seen: Survey, fitted: tuple[str, ...]) -> dict[str, str]:
    """Weights that were multiplied with and not fitted, and why."""
    return {name: seen.hindrance(name) or "nothing was missing" for name in seen.seen if name not in fitted}
