"""Parameters as users type them, and back: one reader for each attribute of `Request`, shared by every front.

A reader takes a text, or the value itself from a program, and raises what says what to write:

    percents   0.2,0.4,0.6            ratios   layer1=0.3,fc*=0.7
    ommitted   fc1,layer1.*           keep     conv1=0,3,5;fc1=0-15
    precision  int8                   layers   conv1=int8,fc*=int4

Not here: inputs and arguments of a model (`records.inputs`), and what can't be asked for together (`records.request`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import Any, TypeVar
from uuid import UUID

from coppice.errors import ParameterInvalid, ParameterMissing, PercentOutOfRange, UnknownCriterion
from coppice.records.frameworks import Framework
from coppice.records.inputs import parse_input_size, parse_model_args
from coppice.records.plugins import CRITERIA as OF_CRITERIA
from coppice.records.plugins import plugins
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import CRITERIA, MAX_POINTS, MAX_ROUND_TO, Heads, Spread, Target

Choice = TypeVar("Choice", bound=StrEnum)
Value = TypeVar("Value")

#: Larger seeds mean nothing more, and torch takes no more than 64 bits.
MAX_SEED = 2**63 - 1
#: More channels than the layers of a model have; a short text must not become a list that fills the memory.
MAX_KEPT = 100_000
#: A name of a point's files is made of its ratio: hundredths of a per cent are what it can tell apart.
DIGITS = 4

_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_RANGE = re.compile(r"\s*(?P<first>[0-9]{1,7})\s*(?:-\s*(?P<last>[0-9]{1,7})\s*)?")


def parse_percent(given: str | float | None) -> float:
    """Read `percent`; raises ParameterMissing, ParameterInvalid or PercentOutOfRange, each saying what to write."""
    if given is None or (isinstance(given, str) and not given.strip()):
        raise ParameterMissing(
            "percent is missing. Give the fraction of channels to remove, e.g. percent=0.4.", field="percent"
        )
    return _fraction("percent", given)


def parse_percents(given: str | Iterable[float]) -> tuple[float, ...]:
    """Read the ratios of a sweep; they come back ascending, and one that is there twice is refused."""
    entries = [entry for entry in given.split(",") if entry.strip()] if isinstance(given, str) else list(given)
    found = sorted(_fraction("percents", entry, "each is a fraction to remove") for entry in entries)
    if not 1 <= len(found) <= MAX_POINTS:
        raise ParameterInvalid(
            f"percents lists {len(found)} ratios; give 1 to {MAX_POINTS}, e.g. 0.2,0.4,0.6,0.8.", field="percents"
        )
    for ratio in found:
        if round(ratio, DIGITS) != ratio:
            raise ParameterInvalid(
                f"percents has {ratio!r}: give at most {DIGITS} digits after the point.", field="percents"
            )
        if found.count(ratio) > 1:
            raise ParameterInvalid(f"percents has {ratio:g} twice. Give each ratio once.", field="percents")
    return tuple(found)


def parse_omit(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Read a comma-separated list of layer names; empty entries are dropped."""
    names = (given or "").split(",") if given is None or isinstance(given, str) else given
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def parse_criterion(given: str) -> str:
    """Read the name of a criterion; raises UnknownCriterion, which lists those there are."""
    name = given.strip()
    there = (*CRITERIA, *plugins(OF_CRITERIA))
    if name not in there:
        raise UnknownCriterion(f"No criterion is called {name!r}. There are: {', '.join(there)}.", field="criterion")
    return name


def parse_max_drop(given: str | float) -> float:
    """Read `max_drop`, a loss as a fraction."""
    loss = _number("max_drop", given)
    if not 0 < loss <= 1:
        hint = f" For {loss:g} % write {loss / 100:g}." if 1 < loss <= 100 else ""
        raise ParameterInvalid(
            f"max_drop={given} is outside 0 < max_drop <= 1: it is the largest loss of accuracy, as a fraction.{hint}",
            field="max_drop",
        )
    return loss


def parse_ratios(given: str | Mapping[str, float]) -> dict[str, float]:
    """Read `layer1=0.3,fc*=0.7`: what is removed of each layer that the name, prefix or pattern means."""
    how = "Write layer=fraction, separated by commas, e.g. layer1=0.3,fc*=0.7."
    pairs = _pairs("ratios", given.split(","), how) if isinstance(given, str) else given.items()
    return _once("ratios", ((name, _fraction(f"ratios: {name}", ratio)) for name, ratio in pairs))


def parse_keep(given: str | Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    """Read `conv1=0,3,5;fc1=0-15`: numbers of output channels that stay, counted from 0."""
    how = "Write layer=numbers, layers separated by semicolons, e.g. conv1=0,3,5;fc1=0-15."
    if not isinstance(given, str):
        return _once("keep", ((name, _channels(name, numbers)) for name, numbers in given.items()))
    ranges = [(name, _ranges(name, numbers, how)) for name, numbers in _pairs("keep", given.split(";"), how)]
    if sum(len(entry) for _, entries in ranges for entry in entries) > MAX_KEPT:
        raise ParameterInvalid(f"keep lists more than {MAX_KEPT:,} channels. To keep a layer, omit it.", field="keep")
    return _once("keep", ((name, _channels(name, chain.from_iterable(entries))) for name, entries in ranges))


def _ranges(name: str, text: str, how: str) -> list[range]:
    found = []
    for entry in text.split(","):
        match = _RANGE.fullmatch(entry)
        if match is None:
            raise ParameterInvalid(f"keep: {name}={text!r}: {entry!r} is no number or range. {how}", field="keep")
        first = int(match["first"])
        found.append(range(first, int(match["last"] or first) + 1))
    return found


def _channels(name: str, numbers: Iterable[int]) -> tuple[int, ...]:
    found = sorted(set(numbers))
    if not found or not all(isinstance(number, int) and number >= 0 for number in found):
        raise ParameterInvalid(
            f"keep: {name}: give numbers of channels, whole and from 0 on, not {found[:3]}.", field="keep"
        )
    return tuple(found)


def parse_precisions(given: str | Iterable[str]) -> tuple[Precision, ...]:
    """Read the precisions of a sweep, in their order; one that is there twice is refused."""
    entries = [entry for entry in given.split(",") if entry.strip()] if isinstance(given, str) else list(given)
    found = [parse_choice(entry, name="precisions", choices=Precision) for entry in entries]
    if not found or len(found) > len(set(found)):
        raise ParameterInvalid(
            f"precisions={','.join(found)} has {'one twice' if found else 'none'}. Give each once, e.g. float32,int8.",
            field="precisions",
        )
    return tuple(found)


def parse_layers(given: str | Mapping[str, str]) -> dict[str, Precision]:
    """Read `conv1=int8,fc*=int4`: the precision of the weights of each layer that the name, prefix or pattern means."""
    how = "Write layer=precision, separated by commas, e.g. conv1=int8,fc*=int4."
    pairs = _pairs("layers", given.split(","), how) if isinstance(given, str) else given.items()
    return _once("layers", ((name, _precision_of(name, value)) for name, value in pairs))


def _precision_of(layer: str, given: str) -> Precision:
    try:
        return parse_choice(given, name=f"layers: {layer}", choices=Precision)
    except ParameterInvalid as e:
        raise ParameterInvalid(e.message, field="layers") from e


def parse_round_to(given: str | int) -> int:
    """Read `round_to`, a width."""
    return _whole("round_to", given, 1, MAX_ROUND_TO)


def parse_seed(given: str | int) -> int:
    """Read `seed`."""
    return _whole("seed", given, 0, MAX_SEED)


def parse_restore(given: str | bool) -> bool:
    """Read `true` or `false`."""
    found = given if isinstance(given, bool) else _SWITCH.get(given.strip().lower())
    if found is None:
        raise ParameterInvalid(f"restore={given!r} is neither true nor false.", field="restore")
    return found


def parse_model_name(given: str) -> str:
    """Read the name of a class."""
    name = given.strip()
    if not name.isidentifier():
        raise ParameterInvalid(
            f"model_name={given!r} is not the name of a class. Write the bare name, e.g. Net.", field="model_name"
        )
    return name


def parse_txid(given: str) -> str:
    """Read the transaction id of an earlier job."""
    try:
        return str(UUID(given.strip()))
    except ValueError as e:
        raise ParameterInvalid(
            f"source_txid={given[:100]!r} is no transaction id: give what the call that sent the model answered.",
            field="source_txid",
        ) from e


def parse_choice(given: str, *, name: str, choices: type[Choice]) -> Choice:
    """Read one of a few words."""
    try:
        return choices(given.strip().lower())
    except ValueError as e:
        raise ParameterInvalid(f"{name}={given!r} is none of {', '.join(choices)}.", field=name) from e


#: attribute of `Request` -> its reader.
READERS: Mapping[str, Callable[[Any], object]] = {
    "percent": parse_percent,
    "percents": parse_percents,
    "omit": parse_omit,
    "criterion": parse_criterion,
    "spread": partial(parse_choice, name="spread", choices=Spread),
    "target": partial(parse_choice, name="target", choices=Target),
    "max_drop": parse_max_drop,
    "round_to": parse_round_to,
    "ratios": parse_ratios,
    "keep": parse_keep,
    "restore": parse_restore,
    "precision": partial(parse_choice, name="precision", choices=Precision),
    "precisions": parse_precisions,
    "weights": partial(parse_choice, name="weights", choices=Precision),
    "biases": partial(parse_choice, name="biases", choices=Precision),
    "activations": partial(parse_choice, name="activations", choices=Activations),
    "layers": parse_layers,
    "rounding": partial(parse_choice, name="rounding", choices=Rounding),
    "output_format": partial(parse_choice, name="format", choices=Format),
    "source_txid": parse_txid,
    "seed": parse_seed,
    "heads": partial(parse_choice, name="heads", choices=Heads),
    "input_size": parse_input_size,
    "model_name": parse_model_name,
    "model_args": parse_model_args,
    "framework": partial(parse_choice, name="model_type", choices=Framework),
}

#: attribute of `Request` -> its text, where that isn't what `str` makes of it.
_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "percents": lambda ratios: ",".join(map(str, ratios)),
    "omit": ",".join,
    "ratios": lambda ratios: ",".join(f"{name}={ratio}" for name, ratio in ratios.items()),
    "keep": lambda kept: ";".join(f"{name}={','.join(map(str, numbers))}" for name, numbers in kept.items()),
    "precisions": ",".join,
    "layers": lambda layers: ",".join(f"{name}={precision}" for name, precision in layers.items()),
    "restore": lambda restored: str(restored).lower(),
    "input_size": lambda inputs: ";".join(map(str, inputs)),
    "model_args": json.dumps,
}


def written(attribute: str, value: object) -> str:
    """What the reader of that attribute reads as that value."""
    return _WRITERS.get(attribute, str)(value)


def _fraction(name: str, given: str | float, meaning: str = "it is the fraction to remove") -> float:
    fraction = _number(name, given)
    if not 0 <= fraction < 1:
        short = name.partition(":")[0]
        hint = f" For {fraction:g} % write {fraction / 100:g}." if 1 < fraction < 100 else ""
        raise PercentOutOfRange(f"{name}={given} is outside 0 <= {short} < 1: {meaning}.{hint}", field=short)
    return fraction


def _number(name: str, given: str | float) -> float:
    field = name.partition(":")[0]
    try:
        found = float(given)
    except (TypeError, ValueError) as e:
        raise ParameterInvalid(f"{name}={given!r} is not a number. Give a fraction such as 0.4.", field=field) from e
    return math.inf if math.isnan(found) else found  # which is outside of everything


def _whole(name: str, given: str | int, least: int, most: int) -> int:
    typed = isinstance(given, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", given)
    if not (typed or (isinstance(given, int) and not isinstance(given, bool))) or not least <= int(given) <= most:
        raise ParameterInvalid(f"{name}={given!r} is not a whole number from {least} to {most}.", field=name)
    return int(given)


def _pairs(name: str, entries: Iterable[str], how: str) -> list[tuple[str, str]]:
    found = []
    for entry in entries:
        if not entry.strip():
            continue
        layer, _, value = entry.rpartition("=")
        if not layer.strip():
            raise ParameterInvalid(f"{name}: {entry.strip()!r} names no layer. {how}", field=name)
        found.append((layer.strip(), value.strip()))
    return found


def _once(name: str, pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for layer, value in pairs:
        if found.setdefault(layer, value) != value:
            raise ParameterInvalid(f"{name}: {layer} is given twice, and differently.", field=name)
    return found
