"""The user's class file: loaded under its own module name, and the model built from it with no arguments.

The file's code runs here, so this is only ever called inside a sandboxed child, or on the user's own machine.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import torch
from torch import nn

from coppice.errors import ClassFileInvalid, ConstructorFailed
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line, user_traceback
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
    build: Callable[[], object]


def module_name(file: str) -> str:
    """The name under which Python imports `file`: a dot inside the name would mean a package."""
    return file.removesuffix(".py").replace(".", "_") or "model"


def load_class(path: Path, *, file: str, name: str) -> UserClass:
    """Run the class file at `path`, called `file` by its user, and find `name` in it; raises ClassFileInvalid."""
    module = _load(path, file=file)
    build = vars(module).get(name)
    if _is_model_class(build) or (callable(build) and not isinstance(build, type)):
        return UserClass(module=module, file=path, name=name, build=build)
    classes = [
        key for key, value in vars(module).items() if _is_model_class(value) and value.__module__ == module.__name__
    ]
    has = f"Its model classes: {', '.join(classes)}." if classes else "It has no subclass of torch.nn.Module."
    wrong = "is not a subclass of torch.nn.Module" if name in vars(module) else "is not in the file"
    raise ClassFileInvalid(f"{file}: {name} {wrong}. {has} Name one of the file in model_name.", field="model_name")


def build_model(user: UserClass, *, seed: int) -> nn.Module:
    """`Net()`, seeded; raises ConstructorFailed with the last lines of the user's traceback."""
    missing = _required_arguments(user.build)
    if missing:
        raise ConstructorFailed(
            f"{user.name}() needs arguments: {', '.join(missing)}. The model is built with none. Give them defaults, or"
            f" add a subclass whose __init__ passes them, and name that subclass in model_name.",
            field="model_name",
        )
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
    if re.search(rb"\btorchvision\b", source):
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


def _required_arguments(build: Callable[[], object]) -> list[str]:
    try:
        parameters = inspect.signature(build).parameters.values()
    except (ValueError, TypeError):  # a metaclass or a C constructor without a signature: the call itself will tell
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
