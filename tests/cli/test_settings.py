"""The flags of `coppice serve` and `coppice keys`."""

from __future__ import annotations

import json
import re

import pytest

from coppice.cli.serve import flag, read_settings
from coppice.settings import Settings
from tests.cli.conftest import Coppice


def test_every_setting_is_a_flag_of_serve(coppice: Coppice) -> None:
    shown = re.sub(r"\s+", " ", coppice("serve", "--help").stdout)

    for name in Settings.model_fields:
        for variant in flag(name).split("/"):
            assert variant in shown, f"{name} has no flag {variant}"


def test_a_flag_that_is_not_given_leaves_the_default() -> None:
    assert read_settings(port=None) == Settings()


def test_a_setting_out_of_range_is_named_with_its_flag_and_variable(coppice: Coppice) -> None:
    found = coppice("serve", "--port", "70000")

    assert found.returncode == 2
    assert "--port" in found.stderr
    assert "COPPICE_PORT" in found.stderr


@pytest.mark.slow
def test_a_key_is_listed_without_its_secret_and_can_be_revoked(coppice: Coppice) -> None:
    made = json.loads(coppice("keys", "create", "alice", "--data", "data", "--json").stdout)
    listed = coppice("keys", "list", "--data", "data", "--json").stdout

    assert [key["name"] for key in json.loads(listed)["keys"]] == ["alice"]
    assert made["client_secret"] not in listed

    assert coppice("keys", "revoke", made["client_id"], "--data", "data").returncode == 0
    again = coppice("keys", "revoke", made["client_id"], "--data", "data")
    assert again.returncode == 7
    assert made["client_id"] in again.stderr
