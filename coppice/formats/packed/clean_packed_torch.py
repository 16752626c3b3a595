"""A script, not a module of ours: load a packed file with torch and its class file alone, and run what comes of it.

Run by `clean_process`, in a fork that has imported nothing but torch; the paths of job and verdict come on standard
input.
"""

import json
import os
import runpy
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

# What was written must not need us, nor safetensors, also where we are installed.
sys.modules["coppice"] = sys.modules["safetensors"] = None  # type: ignore[assignment]

import torch  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

#: Of the largest output: the numbers are the same, but another process may add them in another order.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
#: Timed for so long, and so many pairs at most.
SECONDS, PAIRS = 1.5, 200


def main(job_file: str, verdict_file: str) -> None:
    """Check the file; what it gives for the samples held out is left beside the verdict."""
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(1)
    if "torchvision" in job:  # as it was for the model that was quantized
        runpy.run_path(job["torchvision"])["prepare_torchvision"]()
    sys.path.insert(0, job["modules"])
    verdict: dict[str, Any] = {"torch": torch.__version__, "failures": [], "operators": {}, "latencies": None}
    try:
        checked(job, verdict)
    except (Exception, SystemExit) as e:  # noqa: BLE001  the verdict tells it
        verdict["failures"].append(f"{type(e).__name__}: {e}")
    Path(verdict_file).write_text(json.dumps(verdict))


def checked(job: dict[str, Any], verdict: dict[str, Any]) -> None:
    """Compare tensors and outputs, run the batches, count what multiplies, and time it where a float file is given."""
    expected = torch.load(job["expected"], weights_only=True)
    load = import_module(job["class_def"]).load_quantized
    model = load(job["file"])
    state = model.state_dict()
    if list(state) != list(expected["state"]):
        verdict["failures"].append("its state dict has other keys.")
    for name, value in expected["state"].items():
        if not same(state[name], value):
            verdict["failures"].append(f"{name} was not restored.")
    if verdict["failures"]:
        return
    run = Run(model, job["names"], job["seed"])
    outputs = run(expected["inputs"])
    for number, want in enumerate(expected["outputs"] or ()):
        if not close(outputs[number], want):
            verdict["failures"].append(f"output {number} differs from that of the model that was quantized.")
    torch.save([[narrowed(leaf) for leaf in run(batch)] for batch in expected["batches"]], job["given"])
    counting = runpy.run_path(str(Path(__file__).with_name("products.py")))["Products"]
    with counting(tensor_of(model, name) for name in job["products"]) as products:
        run(expected["sample"])
    verdict["operators"] = dict(products.counted)
    if job["floats"] is not None:
        runs = (Run(load(job["floats"]), job["names"], job["seed"]), run)
        verdict["latencies"] = timed(runs, expected["sample"])


class Run:
    """Runs a model on inputs of its user, the last of which have names; floats as the model takes them."""

    def __init__(self, model: Any, names: list[str], seed: int) -> None:
        self._model, self._names, self._seed = model, names, seed
        kinds = [tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()]
        halves = (torch.float16, torch.bfloat16)
        self._kind = kinds[0] if kinds and kinds[0] in halves else None

    def __call__(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """The outputs, in order."""
        taken = [one.to(self._kind) if one.is_floating_point() and self._kind else one for one in inputs]
        first = len(taken) - len(self._names)
        torch.manual_seed(self._seed)
        with torch.no_grad():
            returned = self._model(*taken[:first], **dict(zip(self._names, taken[first:], strict=True)))
        return [leaf for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)]


def tensor_of(model: Any, name: str) -> Any:
    """A tensor of a model by its name."""
    path, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(path), attribute)


def narrowed(leaf: torch.Tensor) -> torch.Tensor:
    """Halves as float32, to be compared with."""
    return leaf.float() if leaf.dtype in (torch.float16, torch.bfloat16) else leaf.clone()


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in type and in every number, a NaN equal to a NaN."""
    return a.dtype is b.dtype and a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def close(output: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal to rounding."""
    if output.shape != wanted.shape or output.dtype not in TOLERANCE or not wanted.numel():
        return output.shape == wanted.shape and torch.equal(output, wanted)
    allowed = TOLERANCE[output.dtype] * wanted.nan_to_num().abs().max().item()
    return torch.allclose(output, wanted, rtol=0, atol=allowed, equal_nan=True)


def timed(runs: tuple[Run, Run], sample: tuple[torch.Tensor, ...]) -> list[list[float]]:
    """Median and spread of the milliseconds of each, by turns, so that a busy machine slows both alike."""
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run(sample)
    end = time.perf_counter() + SECONDS
    while not times[0] or (time.perf_counter() < end and len(times[0]) < PAIRS):
        for run, entry in zip(runs, times, strict=True):
            start = time.thread_time()  # of this thread, the only one: the machine may have other work
            run(sample)
            entry.append((time.thread_time() - start) * 1000)
    quartiles = [torch.tensor(entry).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() for entry in times]
    return [[middle, high - low] for low, middle, high in quartiles]


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
    os._exit(0)  # without the exit hooks of what was loaded
