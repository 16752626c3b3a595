"""The tracer: a TorchDispatchMode around a forward pass that carries labels from operator to operator.

It decides nothing about any operator: the table of rules does. An operator without a rule fixes what it touches.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from coppice.channels import Axes, Channels, Labels, Ledger
from coppice.errors import ForwardFailed
from coppice.tracing.call import Blocks, Call, Rule, bind, fixed
from coppice.tracing.composites import unfused
from coppice.tracing.following import Following
from coppice.tracing.integers import Integers
from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.mode import DispatchMode
from coppice.tracing.network import Network, stored, tables
from coppice.tracing.outputs import opened
from coppice.tracing.sites import Place, place, site

#: What random numbers of a forward pass start from.
SEED = 0

#: Finds the rule of an operator, or None.
RuleOf = Callable[[torch._ops.OpOverload], Rule | None]


class Tracer(DispatchMode):
    """Labels every tensor that an operator makes while the mode is active."""

    def __init__(self, ledger: Ledger, rule_of: RuleOf, module: nn.Module, *, whole_heads: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger
        self.path: list[Place] = []  # the modules at work, outermost first
        self.numbers = Following(ledger, self.known, self.path)
        self._rule_of, self._whole_heads = rule_of, whole_heads
        self._axes: MutableMapping[torch.Tensor, Axes] = WeakTensorKeyDictionary()
        self._blocks: MutableMapping[torch.Tensor, Blocks] = WeakTensorKeyDictionary()
        self._names: MutableMapping[torch.Tensor, str] = WeakTensorKeyDictionary()
        self._when_read: MutableMapping[torch.Tensor, list[tuple[Labels, str]]] = WeakTensorKeyDictionary()
        self._unread: MutableMapping[torch.Tensor, str] = WeakTensorKeyDictionary()
        kept_plainly = tables(module)
        for name, tensor in stored(module).items():
            if name in kept_plainly:  # perhaps what an earlier run has left behind, which nothing reads
                self._unread[tensor] = name
            elif tensor not in self._axes:  # a tensor stored under two names is one tensor with one set of labels
                self._declare(name, tensor)

    def _declare(self, name: str, tensor: torch.Tensor) -> None:
        self._axes[tensor] = self.ledger.declare(name, tuple(tensor.shape))
        self._names[tensor] = name

    def labels(self, tensor: torch.Tensor) -> Axes:
        """The labels of a tensor; one that no traced operator made is fixed."""
        known = self.known(tensor)
        if (name := self._names.get(tensor)) is not None:
            self.ledger.use(name)
        for labels, reason in self._when_read.pop(tensor, ()):
            self.ledger.fix(labels, reason)
        return fixed(tensor.shape) if known is None else known

    def known(self, tensor: torch.Tensor) -> Axes | None:
        """The labels of a tensor that a traced operator made, or that the model stores, without counting as a use."""
        if self._unread and (name := self._unread.pop(tensor, None)) is not None:
            self._declare(name, tensor)
        return self._axes.get(tensor)

    def when_read(self, tensor: torch.Tensor, labels: Labels, reason: str) -> None:
        """Fix the labels if any operator reads the tensor, or the model returns it."""
        self._when_read.setdefault(tensor, []).append((labels, f"{reason} (made by {self.ledger.where})"))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.ledger.where = site(func._schema.name, self.path)
        kept: dict[int, Blocks] = {}

        def keep(output: torch.Tensor, blocks: Blocks) -> None:
            kept[id(output)] = {**kept.get(id(output), {}), **blocks}

        call = Call(
            op=func,
            arguments=bind(func, args, kwargs or {}),
            outputs=outputs,
            ledger=self.ledger,
            labels=self.labels,
            when_read=self.when_read,
            blocks=self.blocks,
            keep=keep,
            literal=self.numbers.literal,
            whole_heads=self._whole_heads,
        )
        stacked = bool(self._blocks) and any(self.blocks(tensor) for tensor in call.tensors())
        for output, axes in zip(outputs, _labelled(call, self._rule_of(func) or refuse), strict=True):
            self._axes[output] = axes
            if stacked or id(output) in kept:
                self._keep(output, axes, kept.get(id(output), {}))
        return result

    def blocks(self, tensor: torch.Tensor) -> Blocks:
        """The axes of a tensor that hold other channels in each block."""
        return self._blocks.get(tensor, {})

    def _keep(self, output: torch.Tensor, axes: Axes, blocks: Blocks) -> None:
        """Note the stacked axes of an output; blocks that the rule has lost sight of keep the same positions."""
        self._blocks.pop(output, None)
        if blocks:
            self._blocks[output] = blocks
        for axis, labels in enumerate(axes):
            if axis not in blocks and labels.any():
                self.ledger.flatten(labels)


def refuse(call: Call) -> Sequence[Axes]:
    """The rule of operators that have none: all that they touch stays, and the reason says where they are."""
    if told := call.arguments.get("reason"):
        call.ledger.where = ""  # what stands for a layer of a file says itself which one it is
    return _refused(call, str(told or "no rule for this operator"))


def _labelled(call: Call, rule: Rule) -> Sequence[Axes]:
    try:
        return rule(call)
    except Exception as e:  # noqa: BLE001 - a call that its rule did not foresee is refused, and told in the report
        return _refused(call, f"the rule for this operator does not cover this call, {type(e).__name__}")


def _refused(call: Call, reason: str) -> Sequence[Axes]:
    for tensor in call.tensors():
        for labels in call.labels(tensor):
            call.ledger.fix(labels, reason)
            call.ledger.produces(labels)  # so that the report tells of weights which nothing else has read
    return [fixed(output.shape) for output in call.outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """The channels of a model, and whether its forward pass also runs in training mode on the example input."""

    channels: Channels
    trains: bool
    integers: Integers


def trace(network: Network, rule_of: RuleOf, *, whole_heads: bool = False) -> Traced:
    """Label one forward pass in evaluation and, where it runs, one in training, and settle the groups.

    Both passes write into one ledger, so that parts which only training runs (auxiliary heads) bind what they touch.
    Parameters and buffers are left as they were. Raises ForwardFailed when the evaluation pass raises.
    """
    module = network.module
    ledger = Ledger()
    tracer = Tracer(ledger, rule_of, module, whole_heads=whole_heads)
    _hold_scripted(tracer, module)
    _watch(tracer, module, network.inputs)
    trains = True
    try:
        with training(module):
            _watch(tracer, module, network.inputs)
    except ForwardFailed:
        trains = False
    integers = tracer.numbers.settled()
    return Traced(channels=ledger.settle(), trains=trains, integers=integers)


def _hold_scripted(tracer: Tracer, module: nn.Module) -> None:
    """Compiled code keeps numbers that can't be followed, let alone set: what it holds stays."""
    for path, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            continue
        reason = f"{path or 'the model'} is TorchScript, whose sizes can't be set; give the module that it was made of"
        for tensor in part.parameters():
            for labels in tracer.known(tensor) or ():
                tracer.ledger.fix(labels, reason)


def forward(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Any:
    """One forward pass without gradients, its outputs opened; raises ForwardFailed with the line of the user's own.

    Whatever the code draws at random (a mask, a sample), it draws the same every time.
    """
    try:
        with torch.no_grad(), no_leftovers(module), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            returned = module(*inputs)
    except Exception as e:
        if isinstance(e, MemoryError) or "can't allocate memory" in str(e):
            raise MemoryError(str(e)) from e
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise ForwardFailed(f"The model's forward raised on an input of shape {shapes}: {blame(e)}") from e
    return opened(returned)


def blame(error: BaseException) -> str:
    """The error in one line, with the innermost line of code outside of torch that led to it."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "torch" not in Path(frame.filename).parts and "coppice" not in Path(frame.filename).parts
    ]
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if not frames:
        return text
    last = frames[-1]
    return f"{text} ({Path(last.filename).name}, line {last.lineno}, in {last.name}: {last.line})"


def _watch(tracer: Tracer, module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    names = {id(part): name for name, part in module.named_modules()}

    def enter(part: nn.Module, _: Any) -> None:
        tracer.path.append(place(part, names.get(id(part), ""), tracer.path))

    def leave(*_: Any) -> None:
        tracer.path.pop()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        with unfused(), tracer, tracer.numbers.of(module):
            outputs = forward(module, inputs)
    finally:
        tracer.path.clear()
        for hook in hooks:
            hook.remove()
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, torch.Tensor):
            for labels in tracer.labels(leaf):
                tracer.ledger.output(labels)


@contextmanager
def training(module: nn.Module) -> Iterator[None]:
    """Training mode for a while; modes, running statistics and the random state come back as they were."""
    modes = {part: part.training for part in module.modules()}
    before = {name: tensor.clone() for name, tensor in _statistics(module).items()}
    try:
        with torch.random.fork_rng(devices=[]):
            module.train()
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        with torch.no_grad():
            for name, tensor in _statistics(module).items():
                tensor.copy_(before[name])


def _statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    """What a forward pass may write: torch's buffers, and Keras' moving statistics, parameters that aren't trained."""
    untrained = {name: one.detach() for name, one in module.named_parameters() if not one.requires_grad}
    return {**dict(module.named_buffers()), **untrained}
