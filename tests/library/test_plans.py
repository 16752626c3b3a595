"""A plan is kept, edited, and replayed on other weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import coppice
from coppice import Plan
from coppice.errors import ParameterInvalid, UnknownLayer
from tests.engine.attention import ByHeadWidth, Stream
from tests.engine.models import Net, network

INPUT = torch.zeros(1, 1, 28, 28)


@pytest.fixture(scope="module")
def plan() -> Plan:
    torch.manual_seed(1)
    return coppice.prune(Net(), percent=0.5, example_inputs=INPUT).plan


def _sizes(model: nn.Module) -> dict[str, int]:
    return {name: tensor.shape[0] for name, tensor in model.named_parameters() if name.endswith("weight")}


def test_a_plan_comes_back_from_its_file(plan: Plan, tmp_path: Path) -> None:
    plan.without("fc1").keeping("conv1", [3, 1]).save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan.without("fc1").keeping("conv1", [1, 3])


@pytest.mark.parametrize("text", ["", "{}x", '{"schema_version": 2}', '{"kept": {"a": {"0": [-1]}}}', '{"other": 1}'])
def test_a_file_that_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ParameterInvalid, match="is not a plan of schema version 1"):
        Plan.load(tmp_path / "plan.json")


def test_other_weights_are_cut_at_the_same_positions(plan: Plan) -> None:
    torch.manual_seed(2)
    other = Net()
    result = coppice.apply(other, plan, example_inputs=INPUT)

    chosen = list(plan.kept["conv1.weight"][0])
    assert torch.equal(result.model.conv1.weight, other.conv1.weight[chosen])
    assert (result.plan, result.report.verification.check.value) == (plan, "exact")
    assert {group.name: group.removed for group in result.report.groups} == {"conv1": 16, "conv2": 32, "fc1": 64}
    assert other.conv1.weight.shape[0] == 32


def test_what_depends_on_an_edited_layer_follows(plan: Plan) -> None:
    result = coppice.apply(Net(), plan.without("fc1").keeping("conv1", [0, 7]), example_inputs=INPUT)

    assert _sizes(result.model) == {"conv1.weight": 2, "conv2.weight": 32, "fc1.weight": 128, "fc2.weight": 10}
    assert result.plan.kept["conv1.weight"] == {0: (0, 7)}
    assert result.plan.kept["conv2.weight"][1] == (0, 7)
    assert not result.plan.edits


def test_a_plan_edited_by_its_mapping_is_refused_where_half_of_it_would_be_cut(plan: Plan) -> None:
    edited = plan.model_copy(update={"kept": {**plan.kept, "conv2.weight": {0: (0, 1)}}})
    with pytest.raises(ParameterInvalid, match=r"conv2: .*axis 1 of conv2.weight.*axis 0 of conv1.weight"):
        coppice.apply(Net(), edited, example_inputs=INPUT)


@pytest.mark.parametrize(
    ("layer", "channels", "message"),
    [
        ("fc2", [0], "fc2 can't lose channel 1 .output of the model"),
        ("conv1", [32], "conv1 has 32 output channels, numbered from 0; there is no 32"),
    ],
)
def test_an_impossible_edit_is_refused_with_the_layer(
    plan: Plan, layer: str, channels: list[int], message: str
) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        coppice.apply(Net(), plan.keeping(layer, channels), example_inputs=INPUT)


def test_an_edit_needs_a_layer_and_channels(plan: Plan) -> None:
    with pytest.raises(UnknownLayer, match="conv9"):
        coppice.apply(Net(), plan.without("conv9"), example_inputs=INPUT)
    for channels in ([], [-1, 2]):
        with pytest.raises(ParameterInvalid, match="numbers of channels, from 0"):
            plan.keeping("conv1", channels)


def test_a_sum_keeps_its_layers_together() -> None:
    result = coppice.prune(Residual(), percent=0.5, example_inputs=torch.zeros(1, 3, 8, 8))
    again = coppice.apply(Residual(), result.plan.keeping("second", [1]), example_inputs=torch.zeros(1, 3, 8, 8))

    assert _sizes(again.model) == {"first.weight": 1, "second.weight": 1, "last.weight": 2}
    with pytest.raises(ParameterInvalid, match="first and second share channels"):
        coppice.apply(
            Residual(),
            result.plan.keeping("first", [0]).keeping("second", [1]),
            example_inputs=torch.zeros(1, 3, 8, 8),
        )


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        last: torch.Tensor = self.last((x + self.second(x)).relu())
        return last


def test_another_architecture_is_refused_by_the_name_of_a_tensor(plan: Plan) -> None:
    other = Net()
    other.fc1 = nn.Linear(9216, 100)
    other.fc2 = nn.Linear(100, 10)
    with pytest.raises(ParameterInvalid, match=r"another architecture: fc1.weight has shape \(100, 9216\)"):
        coppice.apply(other, plan, example_inputs=INPUT)
    other.extra = nn.Linear(2, 2)
    with pytest.raises(ParameterInvalid, match=r"extra\.(weight|bias) is in the model only"):
        coppice.apply(other, plan, example_inputs=INPUT)


def test_samples_repair_a_replayed_cut(plan: Plan) -> None:
    torch.manual_seed(3)
    samples = torch.randn(64, 1, 28, 28)
    repaired = coppice.apply(Net(), plan, samples=samples).report.quality
    assert repaired is not None
    assert repaired.repaired
    restored, cut = repaired.restored.distance, repaired.cut.distance
    assert restored is not None
    assert cut is not None
    assert restored < cut


def test_a_plan_of_whole_heads_is_replayed_as_one() -> None:
    net = network(Stream(ByHeadWidth, 32, 64), (6, 12))
    plan = coppice.prune(net.module, percent=0.5, example_inputs=net.inputs, heads="whole").plan
    torch.manual_seed(5)
    other = Stream(ByHeadWidth, 32, 64)
    result = coppice.apply(other, Plan.model_validate_json(plan.model_dump_json()), example_inputs=net.inputs)
    assert result.plan == plan
    assert result.model.get_submodule("blocks.0").num_heads == 2


def test_a_notebook_shows_a_plan(plan: Plan) -> None:
    shown = plan.without("fc1")._repr_html_()
    assert "<tr><td>conv1.weight</td><td>0</td><td>16 of 32</td></tr>" in shown
    assert "<li>fc1: whole</li>" in shown
    hostile = Plan(kept={"<script>": {0: (1,)}}, edits={"<b>": (1,)})._repr_html_()
    assert "<script>" not in hostile
    assert "<b>" not in hostile
    many = Plan(kept={f"t{number}": {0: (1,)} for number in range(150)})._repr_html_()
    assert "and 50 more" in many
