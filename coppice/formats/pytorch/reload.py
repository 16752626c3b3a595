"""Load a PyTorch result back where only torch and the user's file are, and compare it with the model that was cut.

Here the job for that other process is made; what it does is in `clean_torch.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from coppice.errors import ReloadFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.pytorch import torchvision_import
from coppice.formats.pytorch.named_inputs import names_of
from coppice.formats.pytorch.state_dict import Fitted
from coppice.formats.pytorch.user_errors import trimmed
from coppice.formats.pytorch.user_module import UserClass, uses_torchvision
from coppice.tracing.network import Network

SCRIPT = "pytorch/clean_torch.py"
#: Loading takes seconds; a constructor that trains, or a forward on a large input, may take more.
SECONDS = 300


def reload_torch(
    pruned: nn.Module, network: Network, user: UserClass, fitted: Fitted, written: Mapping[str, Path], *, seed: int
) -> None:
    """Check the written files, artifact name -> path; raises ReloadFailed."""
    # Beside the files: temporary folders may be small, and these hold the model's outputs.
    with tempfile.TemporaryDirectory(dir=written["state_dict"].parent, prefix=".reload-") as name:
        folder = Path(name)
        modules = folder / "modules"
        modules.mkdir()
        shutil.copyfile(user.file, modules / f"{user.module.__name__}.py")
        torch.save({"inputs": network.inputs, "outputs": _outputs(pruned, network, seed)}, folder / "expected.pt")
        job: dict[str, object] = {
            "modules": str(modules),
            "expected": str(folder / "expected.pt"),
            "seed": seed,
            "names": names_of(pruned),
            "arguments": user.arguments,
            "place": fitted.place,
            "keys": fitted.keys.names,
        }
        job |= {artifact: str(path.absolute()) for artifact, path in written.items()}
        if uses_torchvision(user.file):
            job |= {"torchvision": torchvision_import.__file__}
        if "class_def" in written:
            shutil.copyfile(written["class_def"], modules / written["class_def"].name)
            job |= {"class_def": written["class_def"].stem, "name": user.name}
        try:
            failures = run_clean(SCRIPT, job, folder, seconds=SECONDS, with_torch=True)
        except CleanProcessFailed as e:
            raise ReloadFailed(
                f"The written files did not load back in a process of their own: {trimmed(str(e))}"
            ) from e
    if failures:
        raise ReloadFailed(
            f"The written files did not load back with torch and the class file alone. {trimmed(' '.join(failures))}"
        )


def _outputs(pruned: nn.Module, network: Network, seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(pruned(*network.inputs)) if isinstance(leaf, torch.Tensor)]
