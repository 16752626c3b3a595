"""A torchvision whose compiled part does not load: what it misses is declared, and it imports."""

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
import torchvision
print(torchvision.half.__name__)
"""


@pytest.mark.slow
def test_a_torchvision_without_its_compiled_part_imports(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN)
    (package / "half.py").write_text("")

    def use(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", USE, str(tmp_path), how]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert "operator torchvision::nms does not exist" in use("as it is").stderr
    assert use("prepared").stdout == "torchvision.half\n"
