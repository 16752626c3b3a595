"""A quantized PyTorch model as packed safetensors, and its class file with a reader of them; torch opens both again."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from coppice.errors import PrecisionImpossible, ReloadFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.packed import file as packed
from coppice.formats.packed.held_out import batches, rows
from coppice.formats.packed.torch_class import quantized_class
from coppice.formats.pytorch import torchvision_import
from coppice.formats.pytorch.named_inputs import names_of
from coppice.formats.pytorch.source import TorchSource
from coppice.formats.pytorch.user_errors import trimmed
from coppice.formats.pytorch.user_module import uses_torchvision
from coppice.formats.quantized import Quantizing, Written
from coppice.formats.source import Latency
from coppice.quant import QuantizedModel
from coppice.records.quantization import Activations
from coppice.records.report import Arithmetic, Artifact
from coppice.tracing import stored

SCRIPT = "packed/clean_packed_torch.py"
#: Loading takes seconds, the samples held out perhaps minutes.
SECONDS = 600
#: The types that a whole module computes in.
_COMPUTED = {Activations.FLOAT16: torch.float16, Activations.BFLOAT16: torch.bfloat16}

STORED_ONLY = (
    "Weights of few bits save room in the file alone: the reader makes floats of them, so that the loaded model takes "
    "the memory and the time of the float model."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What a process with torch alone saw of the files."""

    torch: str
    outputs: tuple[Tensor, ...] | None
    operators: Mapping[str, int]
    latencies: tuple[Latency, Latency] | None


def write(task: Quantizing, out: Path) -> Written:
    """Write both files and load them with torch alone; raises PrecisionImpossible, ReloadFailed."""
    source, model = task.source, task.model
    if not isinstance(source, TorchSource):
        raise TypeError(f"a {type(source).__name__} has no class file")
    computed = _COMPUTED.get(task.wanted.numbers.activations)
    file = Artifact(name="quantized", file=f"{source.stem}_quantized.safetensors")
    name = re.sub(r"[^A-Za-z0-9_]", "_", source.user.module.__name__)[:80]
    class_file = Artifact(name="quantized_class_def", file=f"{name}_quantized.py", media_type="text/x-python")
    text = quantized_class(source.user, source.network.module, model.module, task.plan, file.file)
    (out / class_file.file).write_bytes(text)
    packed.write(_content(model, computed), out / file.file)
    with tempfile.TemporaryDirectory(dir=out, prefix=".packed-") as folder:
        in_floats = Path(folder) / "floats.safetensors"
        packed.write(_content(QuantizedModel(module=task.dense), None), in_floats)
        float_bytes = in_floats.stat().st_size
        floats = in_floats if computed is not None else None
        loaded = _loaded(task, source, (out / file.file, out / class_file.file), floats, Path(folder))
    return Written(
        artifacts=(file, class_file),
        runtime=f"PyTorch {loaded.torch}",
        bytes_by_type=packed.bytes_by_type(out / file.file),
        float_bytes=float_bytes,
        outputs=loaded.outputs,
        arithmetic=Arithmetic.FLOAT,
        operators=loaded.operators,
        latencies=loaded.latencies,
        notes=() if computed is not None else (STORED_ONLY,),
    )


def _content(model: QuantizedModel, computed: torch.dtype | None) -> packed.Content:
    """The state dict, each tensor once, and what of the quantized tensors no state dict holds."""
    state = dict(model.module.state_dict())
    tensors = stored(model.module)
    first = {_place(tensors[name]): name for name in reversed([*model.coded, *tensors])}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise PrecisionImpossible(
                f"format=safetensors holds tensors alone, and {key} of the state dict is a {type(value).__name__}. "
                "Nearest: format=onnx.",
                field="format",
            )
    names = {key: first.get(_place(value), key) for key, value in state.items()}
    beside = [name for name in {**model.coded, **model.floats} if name not in names.values()]
    held = {name: state[key] for key, name in names.items()} | {name: tensors[name] for name in beside}
    about = {
        "module": None if computed is None else packed.type_name(computed),
        "tied": {key: name for key, name in names.items() if key != name},
        "beside": beside,
    }
    if computed is None:
        return packed.Content(tensors=held, coded=model.coded, floats=model.floats, about=about)
    held |= {name: _computed(value, computed) for name, value in held.items() if name not in model.coded}
    return packed.Content(tensors=held, coded=model.coded, about=about)


def _place(tensor: Tensor) -> tuple[object, ...]:
    """What two names of one tensor have in common; an empty tensor has no address."""
    return (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else (id(tensor),)


def _loaded(
    task: Quantizing, source: TorchSource, written: tuple[Path, Path], floats: Path | None, folder: Path
) -> _Loaded:
    """Load both files where only torch is, and run them; raises ReloadFailed."""
    file, class_file = written
    module, network = task.model.module, source.network
    computed = _COMPUTED.get(task.wanted.numbers.activations)
    modules = folder / "modules"
    modules.mkdir()
    shutil.copyfile(class_file, modules / class_file.name)
    torch.manual_seed(source.seed)
    with torch.no_grad():
        outputs = [leaf for leaf in tree_leaves(module(*network.inputs)) if isinstance(leaf, Tensor)]
    held_out = batches(task.held_out)
    expected = {
        "state": {key: _computed(value, computed) for key, value in module.state_dict().items()},
        "inputs": network.inputs,
        # In halves it gives others; how near, the samples held out tell.
        "outputs": outputs if computed is None else None,
        "sample": network.sample,
        "batches": held_out,
    }
    torch.save(expected, folder / "expected.pt")
    job = {
        "modules": str(modules),
        "class_def": class_file.stem,
        "file": str(file.absolute()),
        "floats": None if floats is None else str(floats.absolute()),
        "expected": str(folder / "expected.pt"),
        "given": str(folder / "given.pt"),
        "seed": source.seed,
        "names": names_of(network.module),
        "products": [name for name in {**task.model.coded, **task.model.floats} if stored(module)[name].dim() > 1],
    }
    if uses_torchvision(source.user.file):
        job |= {"torchvision": torchvision_import.__file__}
    verdict = _verdict(job, folder)
    if verdict["failures"]:
        why = trimmed(" ".join(verdict["failures"]))
        raise ReloadFailed(f"{file.name} did not load back with torch and {class_file.name} alone: {why}")
    given = torch.load(folder / "given.pt", weights_only=True)
    times = verdict["latencies"]
    return _Loaded(
        torch=verdict["torch"],
        outputs=rows(held_out, given),
        operators=verdict["operators"],
        latencies=None if times is None else (_latency(times[0]), _latency(times[1])),
    )


def _verdict(job: dict[str, Any], folder: Path) -> Any:
    try:
        return run_clean(SCRIPT, job, folder, seconds=SECONDS, with_torch=True)
    except CleanProcessFailed as e:
        raise ReloadFailed(f"The packed file did not load back in a process of its own: {trimmed(str(e))}") from e


def _computed(value: Tensor, kind: torch.dtype | None) -> Tensor:
    """As the loaded module has it."""
    return value if kind is None or not value.is_floating_point() else value.to(kind)


def _latency(measured: list[float]) -> Latency:
    milliseconds, spread = measured
    return Latency(milliseconds=milliseconds, spread=spread)
