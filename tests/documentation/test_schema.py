"""Real accounts are what the published schemas say."""

from __future__ import annotations

import json

import jsonschema
import pytest
import torch
from torch import nn

import coppice
from coppice.records.report import Account
from docs import generate
from tests.pages.accounts import inspection, report


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def accounts() -> list[Account]:
    inputs = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    pruned = coppice.prune(model(), percent=0.5, example_inputs=(inputs,)).report
    return [pruned, coppice.inspect(model(), example_inputs=(inputs,)), report(), inspection()]


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(generate.PAGES[f"{name}.schema.json"]())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_accounts_of_this_version_are_valid() -> None:
    for account in accounts():
        found = validator(type(account).__name__.lower())
        assert [error.message for error in found.iter_errors(json.loads(account.model_dump_json()))] == []


@pytest.mark.parametrize(
    ("field", "value"), [("groups", None), ("before", {"parameters": "many"}), ("unheard_of", 1), ("quality", 0.97)]
)
def test_the_schema_refuses_what_is_no_report(field: str, value: object) -> None:
    wrong = {**json.loads(report().model_dump_json()), field: value}
    assert not validator("report").is_valid(wrong)
