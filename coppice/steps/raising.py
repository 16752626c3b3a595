"""raising: the smallest model whose loss the user accepts, layers being given more bits one by one.

At first all layers have the precision that was asked for. How much each of them costs is measured by itself: how far
the outputs move when it alone is rounded. Those that cost most for the bytes they save are raised first, rung by rung,
and how many must be is found by halving, each try being quantized and judged as a whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from coppice.errors import TargetUnreachable
from coppice.quant import QuantizedModel
from coppice.records.quantization import Precision
from coppice.records.report import Raised
from coppice.records.request import Request
from coppice.steps.distances import squared
from coppice.steps.drop import loss, missing
from coppice.steps.precisions import Choice, possible, rounding_of
from coppice.steps.workpiece import Workpiece
from coppice.tracing import forward, stored

#: Samples that a layer's cost is measured on: it only orders them.
FEW = 64

Chosen = Mapping[str, Choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The precisions of a model, and the model."""

    chosen: Chosen
    model: QuantizedModel
    trials: tuple[Raised, ...] = ()
    raised: int = 0  # how many steps up


def search(piece: Workpiece, request: Request, start: Chosen, beyond: int) -> Found:
    """The smallest model within `max_drop`, at least so many steps up; raises SamplesMissing, TargetUnreachable."""
    if piece.basis is None or request.max_drop is None:
        raise missing()
    tried: dict[int, Found] = {}
    limit, judge, trials = request.max_drop, piece.basis.judge, list[Raised]()
    climb = _Climb(piece=piece, request=request, start=start)

    def accepted(step: int) -> bool:
        chosen = climb.up(step)
        model = piece.made(chosen)
        drop = loss(judge.original, judge.of(model.module), judge.distance)
        trials.append(_raised(piece.module, chosen, drop, accepted=drop <= limit))
        if trials[-1].accepted:
            tried[step] = Found(chosen=chosen, model=model, raised=step)
        return trials[-1].accepted

    if beyond > climb.steps:
        raise _unreachable(limit, "the file loses more than the model in floats, however many bits its layers get")
    if not accepted(beyond):
        low, high = beyond, climb.steps
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if accepted(middle) else (middle, high)
        if high not in tried and (high == beyond or not accepted(high)):
            best = min(trials, key=lambda trial: math.inf if trial.drop is None else trial.drop)
            raise _unreachable(limit, f"the nearest that was tried {_told(best)} on the samples held out")
    best_step = min(tried)
    return replace(tried[best_step], trials=tuple(trials))


class _Climb:
    """The steps from the precisions at the start to all but floats."""

    def __init__(self, *, piece: Workpiece, request: Request, start: Chosen) -> None:
        self._piece, self._request, self._start = piece, request, start
        self._path: list[tuple[str, Precision]] | None = None

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self._steps())

    def up(self, step: int) -> Chosen:
        """After so many of them."""
        chosen = dict(self._start)
        for name, precision in self._steps()[:step] if step else ():
            told = "raised to keep within max_drop"
            raised = replace(chosen[name], precision=precision, reason=told)
            wanted, material = self._piece.wanted, self._piece.material
            chosen[name] = rounding_of(name, raised, self._request, wanted, material)
        return chosen

    def _steps(self) -> list[tuple[str, Precision]]:
        if self._path is None:
            self._path = list(self._found())
        return self._path

    def _found(self) -> Iterator[tuple[str, Precision]]:
        now = {name: choice.precision for name, choice in self._start.items()}
        free = {name: choice for name, choice in self._start.items() if choice.precision.whole and not choice.named}
        order = _dearest_first(self._piece, free)
        for rung in possible(self._request, self._piece.wanted):
            for name in order:
                if now[name].bits >= rung.bits or rung is Precision.BFLOAT16:
                    continue
                now[name] = rung
                if any(one.whole for one in now.values()):
                    yield name, rung


def _dearest_first(piece: Workpiece, free: Chosen) -> list[str]:
    """Weights by what rounding each alone costs for a byte that it saves."""
    if piece.samples is None:
        return list(free)
    some = piece.on(piece.samples[slice(0, FEW)])
    inputs = some.samples.inputs if some.samples is not None else piece.network.sample
    wanted, tensors = _leaves(piece.module, inputs), stored(piece.module)
    costs = {}
    for name, choice in free.items():
        got = _leaves(some.made({name: choice}).module, inputs)
        apart = sum(squared(want, one) for want, one in zip(wanted, got, strict=True))
        costs[name] = math.inf if math.isnan(apart) else apart / tensors[name].numel()
    return sorted(free, key=lambda name: -costs[name])


def _leaves(module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = tree_leaves(forward(module, inputs))
    return [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _raised(module: nn.Module, chosen: Chosen, drop: float, *, accepted: bool) -> Raised:
    tensors = stored(module)
    bits = sum(tensors[name].numel() * choice.precision.bits for name, choice in chosen.items())
    return Raised(
        layers=dict(Counter(choice.precision for choice in chosen.values())),
        bytes=-(-bits // 8),
        drop=None if math.isinf(drop) else drop,
        accepted=accepted,
    )


def _told(trial: Raised) -> str:
    kept = ", ".join(f"{count} x {precision}" for precision, count in trial.layers.items())
    cost = "gives outputs that are no numbers" if trial.drop is None else f"costs {trial.drop:.3g}"
    return f"({kept}) {cost}"


def _unreachable(limit: float, why: str) -> TargetUnreachable:
    return TargetUnreachable(
        f"max_drop={limit:g} can't be kept: {why}. Accept more, send more samples, or ask for more bits.",
        field="max_drop",
    )
