"""Good jobs among all the hostile ones of this folder: they end well, with results of their own weights."""

from __future__ import annotations

import io

import pytest
import torch

from tests.hostile.neighbours import GOOD, state
from tests.serving import DONE, Service

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sent")]


@pytest.mark.parametrize("number", range(GOOD))
def test_a_good_job_among_hostile_ones_gets_its_own_result(
    service: Service, among: dict[int, str], number: int
) -> None:
    if number not in among:
        pytest.skip("too few hostile tests were chosen")
    end = service.end(among[number])
    assert end["status"] == DONE, end["message"]
    answer = service.client.get("/api/download", params={"txid": among[number], "artifact": "state_dict"})
    kept, own = torch.load(io.BytesIO(answer.content))["conv.weight"], state(number)["conv.weight"]
    assert kept.shape == (3, 1, 3, 3)
    assert all(any(torch.equal(row, given) for given in own) for row in kept)
