"""A script, not a module of ours: load a PyTorch result with torch and the user's file alone, and compare its outputs.

Run by `clean_process`, in a fork that has imported nothing but torch; the paths of job and verdict come on standard
input. The verdict is a list of failures, a sentence each.
"""

import json
import os
import runpy
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
    if "torchvision" in job:  # as it was for the model that was cut: whole also where its compiled part is missing
        runpy.run_path(job["torchvision"])["prepare_torchvision"]()
    sys.path.insert(0, job["modules"])
    saved = torch.load(job["expected"], weights_only=True)
    state = torch.load(job["state_dict"])
    failures = []
    for name, check in CHECKS.items():
        try:
            if name in job:
                model = check(job)
                if isinstance(model, dict):  # tensors only, perhaps without those that its own torch did not have
                    compare_state(model, {key: state[key] for key in model})
                else:
                    compare_state(model.state_dict(), state)
                    compare_outputs(model, saved["inputs"], job["names"], saved["outputs"], job["seed"])
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
    build, arguments = getattr(__import__(job["class_def"]), job["name"]), job["arguments"]
    build().load_state_dict(torch.load(job["state_dict"]))
    model = build(**arguments) if isinstance(arguments, dict) else build(*arguments)
    model.load_state_dict(torch.load(job["state_dict"]))
    return model


def unwrapped(job: dict[str, Any]) -> dict[str, Any]:
    """The weights as they came: the state dict where it lay, its keys by the names that they have in the model."""
    with Path(job["weights"]).open("rb") as file:
        is_torch = file.read(2) in (b"PK", b"\x80\x02")
    # The objects beside the tensors are the user's own plain data, and this process is thrown away.
    found = torch.load(job["weights"], weights_only=False) if is_torch else safetensors_of(job["weights"])
    for key in job["place"]:
        found = found[key]
    return {name: tensor_of(found[key]) for key, name in job["keys"].items() if key in found}


def tensor_of(value: Any) -> Any:
    """An array of numpy as the tensor that its user makes of it."""
    return torch.as_tensor(value) if hasattr(value, "__array__") else value


def safetensors_of(path: str) -> dict[str, Any]:
    """The tensors of a safetensors file."""
    from safetensors.torch import load_file

    return load_file(path)


CHECKS = {"model": pair, "weights": unwrapped, "class_def": rebuilt}


def compare_state(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise unless every tensor is that of the state dict as written, or holds the very same numbers in more bits."""
    if list(found) != list(expected):
        raise ValueError("its state dict has other keys")
    for key, value in expected.items():
        own = found[key]
        if isinstance(value, torch.Tensor) and not (own.element_size() >= value.element_size() and same(own, value)):
            raise ValueError(f"{key} was not restored")


def compare_outputs(
    model: Any, inputs: tuple[torch.Tensor, ...], names: list[str], expected: list[torch.Tensor], seed: int
) -> None:
    """Raise unless the model's outputs are those that were saved, to rounding; its last inputs have names."""
    torch.manual_seed(seed)
    first = len(inputs) - len(names)
    with torch.no_grad():
        returned = model.eval()(*inputs[:first], **dict(zip(names, inputs[first:], strict=True)))
    outputs = [leaf for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)]
    if [output.shape for output in outputs] != [output.shape for output in expected]:
        raise ValueError("its outputs have other shapes")
    for output, wanted in zip(outputs, expected, strict=True):
        if not close(output, wanted):
            raise ValueError(f"its outputs differ by up to {(output - wanted).abs().max():g}")


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in every number, a NaN equal to a NaN."""
    return a.shape == b.shape and torch.allclose(a, b.to(a.dtype), rtol=0, atol=0, equal_nan=True)


def close(output: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal to rounding."""
    if output.dtype not in TOLERANCES or not expected.numel():
        return bool(torch.equal(output, expected))
    largest = expected.nan_to_num().abs().max().item()
    return torch.allclose(output, expected, rtol=0, atol=TOLERANCES[output.dtype] * largest, equal_nan=True)


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
    os._exit(0)  # without the exit hooks of what was loaded
