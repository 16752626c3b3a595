"""Hugging Face transformers built from small configurations, with the heads that people train them with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from bench.models import transformers_senses, transformers_text
from bench.models.entry import Entry
from bench.models.transformers_sizes import Small


def entries() -> Iterator[Entry]:
    """One entry for each class of the tables."""
    for name, small in {**transformers_text.MODELS, **transformers_senses.MODELS}.items():
        yield Entry(
            name=f"transformers/{name}",
            family="transformers",
            build=partial(_build, name, small),
            inputs=small.inputs,
            ready=partial(_class, name),
        )


def _build(name: str, small: Small) -> nn.Module:
    model: nn.Module = _class(name)(_class(small.configuration)(**small.arguments))
    return model if small.around is None else small.around(model)


def _class(name: str) -> Any:
    import transformers

    return getattr(transformers, name)
