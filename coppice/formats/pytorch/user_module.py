"""The user's class file: loaded under its own module name, and the model built from it with the user's arguments.

The file's code runs here, so this is only ever called inside a sandboxed child, or on the user's own machine.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import torch
from torch import nn

from coppice.errors import ClassFileInvalid, ConstructorFailed
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line, user_traceback
from coppice.records.inputs import ModelArgs
from coppice.records.request import Part

#: Marks the modules that came from an upload: a later upload of the same name may take their place.
_MARK = "__coppice_upload__"
FIELD = Part.CLASS_DEF


@dataclass(frozen=True, slots=True, kw_only=True)
class UserClass:
    """What builds the model: a class of the user's file, or a function such as `def resnet20(): return ResNet(...)`."""

    module: ModuleType
    file: Path
    name: str
    definition: Callable[..., object]
    arguments: ModelArgs = ()

    def build(self) -> object:
        """`Net(...)`, with the arguments of the request."""
        if isinstance(self.arguments, dict):
            return self.definition(**self.arguments)
        return self.definition(*self.arguments)


def module_name(file: str) -> str:
    """The name under which Python imports `file`: a dot inside the name would mean a package."""
    return file.removesuffix(".py").replace(".", "_") or "model"


def load_class(path: Path, *, file: str, name: str, arguments: ModelArgs = ()) -> UserClass:
    """Run the class file at `path`, called `file` by its user, and find `name` in it; raises ClassFileInvalid."""
    module = _load(path, file=file)
    found = vars(module).get(name)
    if _is_model_class(found) or (callable(found) and not isinstance(found, type)):
        return UserClass(module=module, file=path, name=name, definition=found, arguments=arguments)
    classes = [
        key for key, value in vars(module).items() if _is_model_class(value) and value.__module__ == module.__name__
    ]
    has = f"Its model classes: {', '.join(classes)}." if classes else "It has no subclass of torch.nn.Module."
    wrong = "is not a subclass of torch.nn.Module" if name in vars(module) else "is not in the file"
    raise ClassFileInvalid(f"{file}: {name} {wrong}. {has} Name one of the file in model_name.", field="model_name")


def build_model(user: UserClass, *, seed: int) -> nn.Module:
    """`Net(...)`, seeded; raises ConstructorFailed with the last lines of the user's traceback."""
    _check_arguments(user)
    torch.manual_seed(seed)
    try:
        model = user.build()
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        raise ConstructorFailed(f"{user.name}() failed:\n{user_traceback(e, user.file)}", field=FIELD) from e
    if not isinstance(model, nn.Module):
        raise ConstructorFailed(
            f"{user.name}() returned a {type(model).__name__}, not a torch.nn.Module.", field="model_name"
        )
    return model


def uses_torchvision(file: Path) -> bool:
    """Whether the user's file says torchvision anywhere, so that it must import."""
    return re.search(rb"\btorchvision\b", file.read_bytes()) is not None


def _load(path: Path, *, file: str) -> ModuleType:
    name = module_name(file)
    taken = sys.modules.get(name)
    if taken is not None and not hasattr(taken, _MARK):
        raise ClassFileInvalid(
            f"{file}: a file of this name hides Python's module {name!r} wherever the model is loaded. Rename the file,"
            f" for example to my_{name}.py.",
            field=FIELD,
        )
    source = path.read_bytes()
    if uses_torchvision(path):
        prepare_torchvision()
    module = ModuleType(name)
    module.__file__ = str(path)
    setattr(module, _MARK, True)
    # In sys.modules before it runs, as an import would have it: dataclasses and pickle look their module up there.
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102  what this file is for
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        if is_out_of_memory(e):
            raise
        raise ClassFileInvalid(_why(e, path, file), field=FIELD) from e
    return module


def _why(error: BaseException, path: Path, file: str) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        shown = f": {error.text.strip()}" if error.text else ""
        return f"{file}, line {error.lineno}: {error.msg}{shown}. Python can't read the file."
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{file} imports {error.name}, which is not here. The class file must stand alone: torch only."
            f"\n{user_traceback(error, path)}"
        )
    if isinstance(error, ValueError) and "null bytes" in str(error):
        return f"{file} is not Python source: {last_line(error)}."
    return f"{file} failed while it was loaded:\n{user_traceback(error, path)}"


def _is_model_class(value: object) -> TypeGuard[type[nn.Module]]:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _check_arguments(user: UserClass) -> None:
    """Refuse arguments that the class does not take before it is called with them; raises ConstructorFailed."""
    try:
        signature = inspect.signature(user.definition)
    except (ValueError, TypeError):  # a metaclass or a C constructor without a signature: the call itself will tell
        return
    missing = _missing(signature, user.arguments)
    if missing:
        example = json.dumps(dict.fromkeys(missing, "..."))
        raise ConstructorFailed(
            f"{user.name}() needs arguments: {', '.join(missing)}. Give them in model_args, as JSON: {example}. Or add"
            f" them to the class file. Give them defaults, or add a subclass whose __init__ passes them and name that"
            f" subclass in model_name.",
            field="model_args" if user.arguments else "model_name",
        )
    unknown = _unknown(signature, user.arguments)
    if unknown:
        near = get_close_matches(unknown[0], signature.parameters, n=1)
        raise ConstructorFailed(
            f"model_args: {user.name}{signature} takes no {unknown[0]!r}."
            + (f" Did you mean {near[0]!r}?" if near else ""),
            field="model_args",
        )
    takes = len(_positional(signature))
    if not isinstance(user.arguments, dict) and len(user.arguments) > takes and not _takes_any(signature):
        raise ConstructorFailed(
            f"model_args lists {len(user.arguments)} arguments and {user.name}{signature} takes {takes} in order.",
            field="model_args",
        )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _positional(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in signature.parameters.values() if p.kind in kinds]


def _takes_any(signature: inspect.Signature) -> bool:
    return any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())


def _missing(signature: inspect.Signature, arguments: ModelArgs) -> list[str]:
    given = arguments if isinstance(arguments, dict) else _positional(signature)[: len(arguments)]
    required = [p.name for p in signature.parameters.values() if p.default is p.empty and p.kind not in _VARIADIC]
    return [name for name in required if name not in given]


def _unknown(signature: inspect.Signature, arguments: ModelArgs) -> list[str]:
    if not isinstance(arguments, dict) or any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return []
    return [name for name in arguments if name not in signature.parameters]
