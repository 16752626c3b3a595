"""What the operators of a `.tflite` file say of it: what LiteRT computes in whole numbers, and what in floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from coppice.formats.quantized import Quantizing
from coppice.formats.tflite.scopes import Scopes
from coppice.records.report import Arithmetic

#: An operator with stored weights, as `clean_interpreter` tells it.
Product = Mapping[str, str]

_WHOLE = ("int8", "uint8", "int4", "int2")
#: What flows, where LiteRT rounds it before it multiplies.
_DYNAMIC = "float32"

#: Operators that AI Edge Quantizer has no whole numbers for.
_NEVER = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "its weights are inside one operator, which the quantizer leaves in floats",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "its weights are inside one operator, which the quantizer leaves in floats",
    "CONV_3D": "LiteRT computes convolutions over three dimensions in floats only",
    "BATCH_MATMUL": "LiteRT reads these weights as numbers that flow",
}


_UNPACKED = "stored in 8 bits and unpacked at load: in floats LiteRT computes it faster than by rounding what flows"


def arithmetic_of(products: Sequence[Product]) -> Arithmetic:
    """Whether products with weights are computed in whole numbers."""
    whole = [_integer(one) for one in products]
    if not any(whole):
        return Arithmetic.FLOAT
    return Arithmetic.INTEGER if all(whole) else Arithmetic.MIXED


def operators_of(products: Sequence[Product]) -> dict[str, int]:
    """Operator with the types that its kernel multiplies -> how many."""
    return dict(Counter(f"{one['operator']} ({_flowing(one)} x {one['weights']})" for one in products))


def floating_layers(products: Sequence[Product], task: Quantizing, scopes: Scopes) -> dict[str, str]:
    """Layers that are computed in floats, with the reason."""
    left = scopes.by_layer(task.model.left)
    found: dict[str, str] = {}
    for one in products:
        if not _integer(one):
            name = scopes.layer_of(one["named"])
            reasons = (
                left.get(name),
                _UNPACKED if one["stored"] in _WHOLE else None,
                _NEVER.get(one["operator"]),
                f"the quantizer leaves this {one['operator']}",
            )
            found[name] = next(reason for reason in reasons if reason)
    return found


def notes_of(products: Sequence[Product], task: Quantizing, batch: int, again: Sequence[str]) -> tuple[str, ...]:
    """What a reader of the report should know of the file; `again` are layers whose weights were rounded once more."""
    return tuple(_notes(products, task, batch, again))


def _integer(product: Product) -> bool:
    return product["weights"] in _WHOLE


def _flowing(product: Product) -> str:
    """What the kernel multiplies by: floats that meet whole weights are rounded to eight bits on the way."""
    dynamic = _integer(product) and product["activations"] == _DYNAMIC
    return "dynamic int8" if dynamic else product["activations"]


def _notes(products: Sequence[Product], task: Quantizing, batch: int, again: Sequence[str]) -> Iterator[str]:
    yield f"The .tflite file takes {'one sample' if batch == 1 else f'{batch} samples'} at a time, in floats."
    if any(_flowing(one) == "dynamic int8" for one in products):
        yield (
            "dynamic: at every run, layer by layer, LiteRT rounds what flows to 8 bits and multiplies whole numbers."
        )
    if any(one["stored"] == "float16" for one in products):
        yield "float16 is how the weights are stored: on a CPU, LiteRT unpacks them at load and computes in float32."
    few = {name for name, coded in task.model.coded.items() if coded.bits < 8}
    wide = sorted(
        {one["operator"] for one in products if one["stored"] == "int8"} & {"DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
    )
    if few and wide:
        yield (
            f"{', '.join(wide)}: LiteRT has no kernel of 4 bits, so these weights take 8 bits each in the file, "
            "whatever grid they lie on."
        )
    if again:
        yield (
            f"{', '.join(again)}: the weights lie on more than one grid for each output of LiteRT's operator, which "
            "takes one scale for each; they were rounded again, to 8 bits."
        )
    if any(coded.bits < 4 for coded in task.model.coded.values()):
        yield "Weights on grids of 2 bits and 1 bit take 4 bits each in the file: LiteRT has no smaller kernel."
