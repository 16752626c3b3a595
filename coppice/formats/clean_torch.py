"""A script, not a module of ours: load a PyTorch result with torch and the user's file alone, and compare its outputs.

Run by `clean_process` as `python -I clean_torch.py JOB VERDICT`. The verdict is a list of failures, a sentence each.
"""

import json
import sys
from pathlib import Path
from typing import Any

# What was written must not need us, also where we are installed: from here on `import coppice` raises.
sys.modules["coppice"] = None  # type: ignore[assignment]

import torch  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

#: Largest difference that rounding explains, relative to the largest output, by type of number.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def main(job_file: str, verdict_file: str) -> None:
    """Check every artifact of the job; a failure of one does not hide another's."""
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(1)
    sys.path.insert(0, job["modules"])
    saved = torch.load(job["expected"], weights_only=True)
    failures = []
    for name, check in CHECKS.items():
        try:
            if name in job:
                compare(check(job), saved, job["seed"])
        except (Exception, SystemExit) as e:  # noqa: BLE001  it is reported, and the next check runs
            failures.append(f"{name}: {type(e).__name__}: {e}")
    Path(verdict_file).write_text(json.dumps(failures))


def pair(job: dict[str, Any]) -> Any:
    """The pickled `(model, info)`, by the line that the documents show; the classes come from the user's own file."""
    model, info = torch.load(job["model"], weights_only=False)
    if not isinstance(info, dict):
        raise TypeError(f"the second of the pair is a {type(info).__name__}")
    return model


def rebuilt(job: dict[str, Any]) -> Any:
    """The class file as pruned, and the state dict loaded into what it builds, by the first document's three lines."""
    module = __import__(job["class_def"])
    model = getattr(module, job["name"])()
    model.load_state_dict(torch.load(job["state_dict"]))
    return model


CHECKS = {"model": pair, "class_def": rebuilt}


def compare(model: Any, saved: dict[str, Any], seed: int) -> None:
    """Raise unless the model's state and outputs are those that were saved."""
    state = {key: value for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    if list(state) != list(saved["state"]):
        raise ValueError("its state dict has other keys")
    for key, value in saved["state"].items():
        if state[key].dtype != value.dtype or not same(state[key], value):
            raise ValueError(f"{key} was not restored")
    torch.manual_seed(seed)
    with torch.no_grad():
        outputs = [leaf for leaf in tree_leaves(model.eval()(*saved["inputs"])) if isinstance(leaf, torch.Tensor)]
    if [output.shape for output in outputs] != [output.shape for output in saved["outputs"]]:
        raise ValueError("its outputs have other shapes")
    for output, expected in zip(outputs, saved["outputs"], strict=True):
        if not close(output, expected):
            raise ValueError(f"its outputs differ by up to {(output - expected).abs().max():g}")


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in every number, a NaN equal to a NaN."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def close(output: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal to rounding."""
    if output.dtype not in TOLERANCES or not expected.numel():
        return bool(torch.equal(output, expected))
    largest = expected.nan_to_num().abs().max().item()
    return torch.allclose(output, expected, rtol=0, atol=TOLERANCES[output.dtype] * largest, equal_nan=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
