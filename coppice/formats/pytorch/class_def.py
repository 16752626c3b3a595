"""The class file as pruned: the user's own text, and with it what makes `Net()` build the pruned shape, in plain torch.

What is added is tables, of sizes that layers state and of tensors' shapes, and a few lines that follow them. The user's
constructor runs as it is; its tensors are then cut to their leading positions, so that they keep values that it drew.
Loading the state dict gives them their own.
"""

from __future__ import annotations

import ast
import copy
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from coppice.formats.pytorch.user_errors import last_line
from coppice.formats.pytorch.user_module import UserClass
from coppice.records.plan import Plan
from coppice.tracing.network import stored, tables
from coppice.tracing.places import MAX_DEPTH, OWN, class_numbers, is_configuration

_TEXT = """
# ---- Added by Coppice: {name}() as it was pruned. Plain torch; the tables hold the pruned sizes. ----
_pruned_attributes = {attributes}
_pruned_shapes = {shapes}
# Tensors that a state dict leaves out: which positions stay, per axis.
_pruned_positions = {positions}


def _prune(model):
    for path, attributes in _pruned_attributes.items():
        for attribute, value in attributes.items():
            _set_pruned(model.get_submodule(path), attribute, value)
    for name, axes in _pruned_positions.items():
        tensor = _unpruned_tensor(model, name)
        for axis, kept in axes.items():
            tensor.data = tensor.data.index_select(axis, torch.tensor(kept))
    for name, shape in _pruned_shapes.items():
        tensor = _unpruned_tensor(model, name)
        tensor.data = tensor.data[tuple(slice(size) for size in shape)].clone()


def _unpruned_tensor(model, name):
    path, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(path), attribute)


def _set_pruned(target, attribute, value):
    name, _, rest = attribute.partition(".")
    if rest:  # of an object: the model gets its own, since others may hold the same one
        part = copy.copy(getattr(target, name))
        _set_pruned(part, rest, value)
        value = part
    vars(target)[name] = value


{hook}
# ---- End of what Coppice added. ----
"""

_CLASS_HOOK = """_unpruned_init = {name}.__init__


def _pruned_init(self, *arguments, **options):{defaults}
    _unpruned_init(self, *arguments, **options)
    if type(self) is {name}:  # a subclass cuts nothing: its sizes are its own
        _prune(self)


{name}.__init__ = _pruned_init"""

_FUNCTION_HOOK = """_unpruned_{name} = {name}


def {name}(*arguments, **options):{defaults}
    model = _unpruned_{name}(*arguments, **options)
    _prune(model)
    return model"""

#: With model_args, `Net()` alone means the model that was pruned; a subclass passes its own.
_DEFAULTS = """
    if {condition}not arguments and not options:  # the arguments with which it was pruned
        arguments, options = {arguments}, {options}"""

#: What a table can hold and Python can read back.
_PLAIN = (int, float, str, bool, type(None))


class NotDescribable(Exception):
    """The pruned shape can't be had by cutting what the constructor builds; the message is the reason."""


def class_definition(user: UserClass, dense: nn.Module, pruned: nn.Module, plan: Plan) -> bytes:
    """The text of the class file whose class builds `pruned`'s shape; raises NotDescribable."""
    _check_fresh(user, dense, plan)
    text = _TEXT.format(
        name=user.name,
        attributes=_table(_attributes(dense, pruned)),
        shapes=_table(_shapes(_cut_or_saved(dense, plan), _cut_or_saved(pruned, plan))),
        positions=_table(_positions(pruned, plan)),
        hook=_hook(user),
    )
    for library in (copy, torch):
        if vars(user.module).get(library.__name__) is not library:
            text = f"\nimport {library.__name__}\n" + text
    return inserted(user.file.read_bytes(), text)


def _hook(user: UserClass) -> str:
    is_class = isinstance(user.definition, type)
    by_name = isinstance(user.arguments, dict)
    defaults = _DEFAULTS.format(
        condition=f"type(self) is {user.name} and " if is_class else "",
        arguments=ascii(() if by_name else user.arguments),
        options=ascii(user.arguments if by_name else {}),
    )
    hook = _CLASS_HOOK if is_class else _FUNCTION_HOOK
    return hook.format(name=user.name, defaults=defaults if user.arguments else "")


def _check_fresh(user: UserClass, dense: nn.Module, plan: Plan) -> None:
    """Refuse a constructor that does not give, time after time, the tensors that there are to cut."""
    try:
        fresh = _cut_or_saved(cast(nn.Module, user.build()), plan)
    except Exception as e:  # the first time it did not
        raise NotDescribable(f"its constructor fails when it is called again ({last_line(e)})") from e
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in fresh.values()):
        raise NotDescribable("it has lazy layers, whose tensors exist only after a first run")
    if {name: tensor.shape for name, tensor in fresh.items()} != {
        name: tensor.shape for name, tensor in _cut_or_saved(dense, plan).items()
    }:
        raise NotDescribable("its constructor makes other tensors each time")


def _cut_or_saved(module: nn.Module, plan: Plan) -> dict[str, torch.Tensor]:
    """What must be there: of the tensors that modules keep in plain attributes, only those that were cut."""
    kept = tables(module).keys() - plan.kept.keys()
    return {name: tensor for name, tensor in stored(module).items() if name not in kept}


def _attributes(dense: nn.Module, pruned: nn.Module) -> dict[str, dict[str, Any]]:
    changed: dict[str, dict[str, Any]] = {}
    for path, module in pruned.named_modules():
        before, after = _numbers(dense.get_submodule(path)), _numbers(module)
        if found := dict(_differing(before, {name: after[name] for name in after if name not in OWN}, "")):
            changed[path] = found
    return changed


def _numbers(module: nn.Module) -> dict[str, Any]:
    return {**class_numbers(module), **vars(module)}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The plain values that differ, those in configuration objects under dotted names."""
    for name, value in after.items():
        if name not in before:
            continue
        if _is_plain(value):
            if repr(value) != repr(before[name]):
                yield prefix + name, value
        elif hasattr(value, "_fields") and value != before[name]:
            raise NotDescribable(f"it keeps sizes in {prefix}{name}, a {type(value).__name__}")
        elif is_configuration(value) and prefix.count(".") < MAX_DEPTH and type(value) is type(before[name]):
            yield from _differing(vars(before[name]), vars(value), f"{prefix}{name}.")


def _shapes(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in after.items() if tensor.shape != before[name].shape}


def _positions(pruned: nn.Module, plan: Plan) -> dict[str, dict[int, tuple[int, ...]]]:
    told = pruned.state_dict().keys()
    return {name: plan.kept[name] for name in stored(pruned) if name in plan.kept and name not in told}


def _is_plain(value: object) -> bool:
    if type(value) in (tuple, list, torch.Size):
        return all(_is_plain(entry) for entry in cast(Sequence[object], value))
    if type(value) is dict:
        return all(_is_plain(entry) for pair in value.items() for entry in pair)
    return type(value) in _PLAIN


def _table(entries: Mapping[str, object]) -> str:
    if not entries:
        return "{}"
    return "{\n" + "".join(f"    {key!a}: {value!a},\n" for key, value in entries.items()) + "}"


def inserted(source: bytes, text: str) -> bytes:
    """`text` at the end of the source, but before a main part: run as a script, that one must meet the pruned class."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    main = next((node for node in ast.parse(source).body if isinstance(node, ast.If) and _tests_main(node.test)), None)
    lines = source.splitlines(keepends=True)
    before = lines if main is None else lines[: main.lineno - 1]
    body = b"".join(before)
    gap = b"" if body.endswith((b"\n", b"\r")) or not body else b"\n"
    after = b"".join(lines[len(before) :])
    return body + gap + b"\n" + text.encode(encoding) + (b"\n\n" + after if after else b"")


def _tests_main(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))
