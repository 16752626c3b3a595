"""Models that PyTorch exports, by both of its exporters: pruned as a file and held to ONNX Runtime by the pipeline."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from coppice.formats.onnx.live import save_live
from tests.onnx.builders import initializers, pruned_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of torch's exporters about themselves


class Images(nn.Module):
    """Norms, a residual, a grouped and a depthwise convolution, squeeze-excite, chunks, an upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.grouped, self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.Conv2d(16, 16, 3, groups=16)
        self.down, self.up = nn.Linear(16, 4), nn.Linear(4, 16)
        self.transposed, self.last = nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = nn.functional.hardswish(self.depthwise(self.grouped(x) + x))
        x = x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))[:, :, None, None]
        a, b = x.chunk(2, 1)
        y: Tensor = self.last(nn.functional.interpolate(self.transposed(a * b), scale_factor=2.0, mode="bilinear"))
        return y


class Words(nn.Module):
    """An embedding, a recurrent layer in two directions, attention with its reshapes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 24)
        self.reader = nn.LSTM(24, 12, batch_first=True, bidirectional=True)
        self.norm, self.qkv, self.out = nn.LayerNorm(24), nn.Linear(24, 72), nn.Linear(24, 24)
        self.wide, self.narrow, self.head = nn.Linear(24, 48), nn.Linear(48, 24), nn.Linear(24, 3)

    def forward(self, words: Tensor) -> Tensor:
        x, _ = self.reader(self.table(words))
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.narrow(nn.functional.gelu(self.wide(x)))
        y: Tensor = self.head(x.mean(1))
        return y


IMAGES = (Images, lambda: torch.randn(2, 3, 16, 16))
WORDS = (Words, lambda: torch.randint(0, 40, (2, 7)))
EXPORTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "images by tracing, opset 11": (IMAGES, {"dynamo": False, "opset_version": 11}),
    "images by tracing, free batch": (
        IMAGES,
        {"dynamo": False, "opset_version": 17, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}},
    ),
    "images by torch.export": (IMAGES, {"dynamo": True, "external_data": False}),
    "words by tracing": (WORDS, {"dynamo": False, "opset_version": 17}),
    "words by torch.export": (WORDS, {"dynamo": True, "external_data": False}),
}


def exported(made: tuple[Any, Any], path: Path, **options: Any) -> nn.Module:
    kind, sample = made
    torch.manual_seed(0)
    module: nn.Module = kind().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (sample(),), str(path), verbose=False, **options)
    return module


@pytest.mark.parametrize("export", [pytest.param(EXPORTS[name], id=name) for name in EXPORTS])
def test_an_exported_model_loses_half_of_its_channels_and_passes_in_the_runtime(
    export: tuple[Any, dict[str, Any]], tmp_path: Path
) -> None:
    made, options = export
    exported(made, tmp_path / "net.onnx", **options)
    cut, report = pruned_file(tmp_path / "net.onnx", tmp_path / "out")

    stored = sum(array.size for array in initializers(cut).values() if array.dtype.kind == "f")
    assert report.after.parameters < 0.62 * report.before.parameters
    assert stored < 0.62 * report.before.parameters
    onnx.checker.check_model(cut, full_check=True)


def test_weights_in_a_file_of_their_own_come_in_a_zip_and_go_into_the_model(tmp_path: Path) -> None:
    exported(IMAGES, tmp_path / "net.onnx", dynamo=True)  # as it exports by default
    assert (tmp_path / "net.onnx.data").exists()
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        for name in ("net.onnx", "net.onnx.data"):
            archive.write(tmp_path / name, f"export/{name}")
    (tmp_path / "whole").mkdir()
    whole = save_live(tmp_path / "net.onnx", tmp_path / "whole")

    cut, report = pruned_file(tmp_path / "net.zip", tmp_path / "out")
    assert cut == pruned_file(whole, tmp_path / "out_whole")[0]
    assert any("in the .onnx now" in note for note in report.notes)


def test_layers_are_known_by_the_names_of_the_user_s_own_modules(tmp_path: Path) -> None:
    exported(IMAGES, tmp_path / "net.onnx", dynamo=True, external_data=False)
    cut, report = pruned_file(tmp_path / "net.onnx", tmp_path / "out", omit=("transposed",))

    assert {"stem", "down"} <= {name for group in report.groups for name in group.layers}
    assert initializers(cut)["transposed.weight"].shape[1] == 8
    assert initializers(cut)["stem.weight"].shape[0] == 8
