"""The class file of a packed model: the user's own text, or that as pruned, and a reader of the file in plain torch."""

from __future__ import annotations

from textwrap import fill

from torch import nn

from coppice.errors import PrecisionImpossible
from coppice.formats.packed.file import TYPES
from coppice.formats.pytorch.class_def import NotDescribable, class_definition, inserted
from coppice.formats.pytorch.user_module import UserClass
from coppice.records.plan import Plan

#: The name by which its user calls the reader.
FUNCTION = "load_quantized"

_TEXT = '''
# ---- Added by Coppice: reads {file}, whose tensors are packed. Plain torch. ----
def {function}(path, model=None):
    """The model, for evaluation, with the tensors of a packed file as floats; or fill `model`, one of your own."""
    import json

    import torch

    types = dict(
{types}
    )
    with open(path, "rb") as file:  # the length of a JSON header, that header, and bytes
        entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = bytearray(file.read())
    about = json.loads(entries.pop("__metadata__")["coppice"])

    def stored(name):
        kind, shape = getattr(torch, types[entries[name]["dtype"]]), entries[name]["shape"]
        start, end = entries[name]["data_offsets"]
        if start == end:
            return torch.empty(shape, dtype=kind)
        return torch.frombuffer(content[start:end], dtype=kind).reshape(shape)

    def value(name):
        numbers, how = stored(name), about["packed"].get(name)
        if how is None:
            return numbers
        if "bits" in how:
            bits, shape = how["bits"], torch.Size(how["shape"])
            if bits < 8:  # several in a byte, the first in the lowest bits
                places = torch.arange(0, 8, bits, dtype=torch.uint8)
                numbers = (numbers[:, None] >> places & 2**bits - 1).flatten()[: shape.numel()].reshape(shape)
            numbers = (numbers.float() * how["step"] + how["first"]) * stored(how["scale"])
        return numbers.to(getattr(torch, types[about["module"] or how["dtype"]]))

    if model is None:
        model = {build}
    if about["module"] is not None:  # it computes in halves
        model = {{"F16": model.half, "BF16": model.bfloat16}}[about["module"]]()
    scales = {{how.get("scale") for how in about["packed"].values()}}
    state = {{name: value(name) for name in entries.keys() - scales - set(about["beside"])}}
    model.load_state_dict({{**state, **{{name: state[first] for name, first in about["tied"].items()}}}})
    for name in about["beside"]:  # what no state dict holds
        path, _, attribute = name.rpartition(".")
        getattr(model.get_submodule(path), attribute).data = value(name)
    return model.eval()


# ---- End of what Coppice added. ----
'''


def quantized_class(user: UserClass, dense: nn.Module, module: nn.Module, plan: Plan, file: str) -> bytes:
    """The text of the class file that reads `file`; `dense` is the model as sent, `module` what is in the file.

    Raises PrecisionImpossible where the pruned shape can't be said in a class file.
    """
    return inserted(_as_pruned(user, dense, module, plan), _loader(user, file))


def _as_pruned(user: UserClass, dense: nn.Module, module: nn.Module, plan: Plan) -> bytes:
    if not plan.kept:
        return user.file.read_bytes()
    try:
        return class_definition(user, dense, module, plan)
    except NotDescribable as e:
        raise PrecisionImpossible(
            f"format=safetensors needs a class that builds the pruned model, and {user.name} can't be told how: {e}. "
            "Nearest: format=onnx, which needs none.",
            field="format",
        ) from e


def _loader(user: UserClass, file: str) -> str:
    star = "**" if isinstance(user.arguments, dict) else "*"
    arguments = f"{star}{user.arguments!a}" if user.arguments else ""
    named = ", ".join(f'{name}="{str(kind).removeprefix("torch.")}"' for name, kind in TYPES.items())
    types = fill(named, 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return _TEXT.format(file=file, function=FUNCTION, types=types, build=f"{user.name}({arguments})")
