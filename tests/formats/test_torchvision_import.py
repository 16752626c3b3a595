"""A torchvision whose compiled part does not load: what it misses is declared, it imports, and boxes are compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: What torchvision's Python part does about operators that its compiled part would have declared.
BROKEN = """
import torch
from torchvision import half

for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: dets)
"""

USE = """
import sys
sys.path.insert(0, sys.argv[1])
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
if sys.argv[2] == "prepared":
    prepare_torchvision()
import torch, torchvision
from torchvision.ops import roi_align
boxes = torch.tensor([[0.0, 0, 4, 4], [8, 8, 9, 9], [0, 0, 4, 3]])
print(torchvision.half.__name__, roi_align._has_ops())
print(torch.ops.torchvision.nms(boxes, torch.tensor([0.1, 0.2, 0.3]), 0.5).tolist())
"""


@pytest.mark.slow
def test_a_torchvision_without_its_compiled_part_imports(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN)
    (package / "half.py").write_text("")
    (package / "extension.py").write_text("def _has_ops():\n    return False\n")
    (package / "ops").mkdir()
    (package / "ops" / "__init__.py").write_text("")
    (package / "ops" / "roi_align.py").write_text("from torchvision.extension import _has_ops\n")

    def use(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", USE, str(tmp_path), how]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert "operator torchvision::nms does not exist" in use("as it is").stderr
    # The third box overlaps the first by three quarters, and is the better one.
    assert use("prepared").stdout == "torchvision.half True\n[2, 1]\n"
