"""Every bad upload of a PyTorch user gets its own error, which names the file and says what to do."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coppice.errors import (
    ClassFileInvalid,
    ConstructorFailed,
    CoppiceError,
    DatasetInvalid,
    EmptyFile,
    ForwardFailed,
    HostileFile,
    InputSizeInvalid,
    ParameterMissing,
    PickledModule,
    StateDictMismatch,
    TruncatedFile,
    UnknownFormat,
)
from coppice.formats import open_upload
from coppice.records.request import Part
from tests.formats.models import NET, WORDS, upload
from tests.formats.torch_uploads import (
    NET_MODEL,
    Case,
    PathDataset,
    PlaneDataset,
    dynamically_quantized,
    exported,
    loader,
    net,
    of_module,
    packaged,
    quantized,
    repacked,
    saved,
    source,
    state,
    tar_of_old,
    with_dataset,
    with_weights,
    words,
    written_by,
)

CASES = {
    "empty weights": Case(error=EmptyFile, says=("weights.pth", "0 bytes"), given=with_weights(lambda: b"")),
    "truncated weights": Case(
        error=TruncatedFile, says=("weights.pth", "truncated"), given=with_weights(lambda: saved(state())[:5000])
    ),
    "truncated weights of the old format": Case(
        error=TruncatedFile,
        says=("weights.pth", "truncated"),
        given=with_weights(lambda: saved(state(), _use_new_zipfile_serialization=False)[:300_000]),
    ),
    "weights that are text": Case(
        error=UnknownFormat, says=("weights.pth", "state dict", "68 65 6c"), given=with_weights(lambda: b"hello, world")
    ),
    "an .h5 sent as weights": Case(
        error=UnknownFormat, says=("HDF5",), given=with_weights(lambda: b"\x89HDF\r\n\x1a\n" + bytes(64))
    ),
    "a whole pickled module": Case(
        error=PickledModule,
        says=("weights.pth", "torch.load", "model.state_dict()", "weights_state.pth"),
        given=with_weights(lambda: nn.Sequential(nn.Linear(2, 2))),
    ),
    "a whole pickled module of the old format": Case(
        error=PickledModule,
        says=("torch.save(model.state_dict()",),
        given=with_weights(lambda: saved(nn.Sequential(nn.Linear(2, 2)), _use_new_zipfile_serialization=False)),
    ),
    "a pickled list": Case(
        error=UnknownFormat, says=("holds a list", "model.state_dict()"), given=with_weights(lambda: [1, 2, 3])
    ),
    "code in the state dict": Case(
        error=UnknownFormat,
        says=("more than tensors", "PlaneDataset"),
        given=with_weights(lambda: {**state(), "data": PlaneDataset()}),
    ),
    "a whole model in a checkpoint": Case(
        error=PickledModule,
        says=("weights_only=False)['model']", "torch.save(model.state_dict()"),
        given=with_weights(lambda: {"epoch": 1, "model": nn.Linear(2, 2), "optimizer": None}),
    ),
    "a TorchScript archive": Case(
        error=UnknownFormat,
        says=("a TorchScript archive", 'torch.jit.load("weights.pth"', "torch.save(model.state_dict()"),
        given=with_weights(lambda: written_by(lambda path: torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path))),
    ),
    "a package": Case(
        error=UnknownFormat,
        says=("an archive of torch.package", "PackageImporter"),
        given=with_weights(lambda: written_by(packaged)),
    ),
    "weights of before torch 0.1.10": Case(
        error=UnknownFormat,
        says=("before version 0.1.10", "torch.save(state"),
        given=with_weights(lambda: written_by(tar_of_old)),
    ),
    "an index of shards": Case(
        error=UnknownFormat,
        says=("several files", "st.save_file"),
        given=with_weights(
            lambda: b'{\n  "metadata": {"total_size": 8},\n  "weight_map": {"a": "model-00001-of-00002"}}'
        ),
    ),
    "one shard of several": Case(
        error=StateDictMismatch,
        says=("missing from the file: conv2.weight", "st.save_file"),
        given=lambda: {
            "weights": {key: value for key, value in state().items() if "conv1" in key or "fc1" in key},
            "files": {Part.WEIGHTS: "model-00001-of-00002.safetensors", Part.CLASS_DEF: "model.py"},
        },
    ),
    "a sparse tensor": Case(
        error=UnknownFormat,
        says=("fc2.weight is a torch.sparse_coo tensor", "to_dense()"),
        given=with_weights(lambda: state(fc2__weight=torch.eye(10, 128).to_sparse())),
    ),
    "a quantized tensor": Case(
        error=UnknownFormat,
        says=("fc2.weight is a quantized tensor (torch.qint8)",),
        given=with_weights(lambda: state(fc2__weight=quantized(torch.zeros(10, 128)))),
    ),
    "a state dict of a model whose layers were quantized": Case(
        error=StateDictMismatch,
        says=("fc1._packed_params", "quantized already", "in floats"),
        given=with_weights(dynamically_quantized),
    ),
    "a tensor without numbers": Case(
        error=UnknownFormat,
        says=("fc2.bias has a shape and no numbers",),
        given=with_weights(lambda: state(fc2__bias=torch.zeros(10, device="meta"))),
    ),
    "teacher and student": Case(
        error=StateDictMismatch,
        says=("more than once: under 'a.' and under 'b.'", "removeprefix('a.')"),
        given=with_weights(lambda: {f"{one}.{key}": value for one in "ab" for key, value in state().items()}),
    ),
    "a name twice": Case(
        error=StateDictMismatch,
        says=("fc2.bias twice", "'module.fc2.bias'"),
        given=with_weights(lambda: {**state(), "module.fc2.bias": torch.zeros(10)}),
    ),
    "compressed weights": Case(
        error=HostileFile,
        says=("compressed",),
        given=with_weights(lambda: repacked(saved(state()), zipfile.ZIP_DEFLATED)),
    ),
    "a tensor of 4 TiB in four bytes": Case(
        error=HostileFile,
        says=("conv1.bias", "claims 4,398,046,511,104 bytes", "stores 4"),
        given=with_weights(lambda: state(conv1__bias=torch.zeros(1).expand(1 << 40))),
    ),
    "a key missing": Case(
        error=StateDictMismatch, says=("missing", "conv2.bias"), given=with_weights(lambda: state(conv2__bias=None))
    ),
    "a key too many": Case(
        error=StateDictMismatch,
        says=("not in the model", "fc3.bias"),
        given=with_weights(lambda: state(fc3__bias=torch.zeros(1))),
    ),
    "a tensor of another shape": Case(
        error=StateDictMismatch,
        says=("fc2.weight", "(7, 128)", "(10, 128)"),
        given=with_weights(lambda: state(fc2__weight=torch.zeros(7, 128))),
    ),
    "a syntax error": Case(
        error=ClassFileInvalid,
        says=("model.py, line 6", "def __init__(self)"),
        model=net("__init__(self):", "__init__(self)"),
    ),
    "bytes that are no source": Case(error=ClassFileInvalid, says=("model.py",), model=source("import torch\0")),
    "an import that is not here": Case(
        error=ClassFileInvalid,
        says=("imports not_installed", "torch only", "model.py, line 1"),
        model=source("import not_installed\n" + NET),
    ),
    "a class name that is not there": Case(
        error=ClassFileInvalid, says=("Missing is not in the file", "Net"), model=replace(NET_MODEL, name="Missing")
    ),
    "a class that is no module": Case(
        error=ClassFileInvalid,
        says=("Thing is not a subclass", "Net"),
        model=source(NET + "\nclass Thing: pass\n", name="Thing"),
    ),
    "a class file that raises": Case(
        error=ClassFileInvalid,
        says=("model.py, line 1", "ZeroDivisionError"),
        model=source("number = 1 / 0\n" + NET),
    ),
    "a class file that exits": Case(
        error=ClassFileInvalid, says=("SystemExit",), model=source("import sys\nsys.exit(0)\n" + NET)
    ),
    "a class file named like a module of Python": Case(
        error=ClassFileInvalid, says=("json.py", "Rename"), model=replace(NET_MODEL, file="json.py")
    ),
    "a constructor that needs arguments": Case(
        error=ConstructorFailed,
        says=("Net() needs arguments: classes, width",),
        model=net("__init__(self)", "__init__(self, classes, width, depth=3)"),
    ),
    "an argument of another name": Case(
        error=ConstructorFailed,
        says=("Net(classes, width=8) takes no 'clases'", "Did you mean 'classes'?"),
        model=net("__init__(self)", "__init__(self, classes, width=8)"),
        given=lambda: {"model_args": {"classes": 10, "clases": 10}},
    ),
    "an argument that is missing": Case(
        error=ConstructorFailed,
        says=("Net() needs arguments: classes", '{"classes": "..."}'),
        model=net("__init__(self)", "__init__(self, classes, width=8)"),
        given=lambda: {"model_args": {"width": 10}},
    ),
    "too many arguments": Case(
        error=ConstructorFailed,
        says=("model_args lists 3 arguments", "takes 2 in order"),
        model=net("__init__(self)", "__init__(self, classes, width=8)"),
        given=lambda: {"model_args": (10, 8, 3)},
    ),
    "arguments for another model": Case(
        error=StateDictMismatch,
        says=("fc2.weight is (10, 128) in the file and (7, 128) in the model",),
        model=replace(
            NET_MODEL, source=NET.replace("__init__(self)", "__init__(self, n)").replace("128, 10", "128, n")
        ),
        given=lambda: {"model_args": (7,)},
    ),
    "a constructor that raises": Case(
        error=ConstructorFailed,
        says=("model.py, line 9, in __init__", "ValueError: no such width"),
        model=net(
            "nn.Conv2d(32, 64, 3, 1)", "self.width()\n\n    def width(self):\n        raise ValueError('no such width')"
        ),
    ),
    "a forward that raises": Case(
        error=ForwardFailed,
        says=("model.py, line 25, in forward", "KeyError: 'missing'"),
        model=net("x = self.dropout2(x)", "x = {}['missing']"),
    ),
    "an input_size with other channels": Case(
        error=InputSizeInvalid,
        says=("3,28,28", "channels", "line 16", "1,28,28 for a"),
        given=lambda: {"input_size": (3, 28, 28)},
    ),
    "an input_size with other pixels": Case(
        error=InputSizeInvalid,
        says=("cannot be multiplied", "x = self.fc1(x)"),
        given=lambda: {"input_size": (1, 32, 32)},
    ),
    "no input_size": Case(error=InputSizeInvalid, says=("missing", "1,28,28"), given=lambda: {"input_size": None}),
    "no model_name": Case(error=ParameterMissing, says=("model_name",), given=lambda: {"model_name": None}),
    "a forward with two inputs": Case(
        error=InputSizeInvalid, says=("takes 2 inputs (x, y)",), model=net("forward(self, x)", "forward(self, x, y)")
    ),
    "an input that forward does not have": Case(
        error=InputSizeInvalid,
        says=("takes 1 inputs (x) and input_size gives 2", "input_size=1,28,28"),
        given=lambda: {"input_size": ({"shape": (1, 28, 28)}, {"shape": (10,)})},
    ),
    "an input of another name": Case(
        error=InputSizeInvalid,
        says=("takes 1 inputs (x)", "missing a required argument: 'x'"),
        given=lambda: {"input_size": ({"shape": (1, 28, 28), "name": "image"},)},
    ),
    "fractions for an embedding": Case(
        error=InputSizeInvalid,
        says=("input_size=7:int64<50", "table with 50 rows", "self.table(words)"),
        model=source(WORDS, name="Words"),
        given=lambda: {"weights": words(), "input_size": ({"shape": (7,), "dtype": "float32"},)},
    ),
    "numbers beyond the embedding": Case(
        error=InputSizeInvalid,
        says=("input_size=7:int64<50", "index out of range"),
        model=source(WORDS, name="Words"),
        given=lambda: {"weights": words(), "input_size": ({"shape": (7,), "dtype": "int64", "below": 5000},)},
    ),
    "a batch by other names": Case(
        error=DatasetInvalid,
        says=("with the keys left, right", "forward takes x"),
        given=with_dataset(lambda: DataLoader([{"left": torch.zeros(1, 28, 28), "right": 1}] * 4)),  # type: ignore[arg-type]
    ),
    "a loader of another size": Case(
        error=DatasetInvalid,
        says=("train_loader.pth", "3,32,32", "1,28,28"),
        given=with_dataset(lambda: loader((3, 32, 32))),
    ),
    "a loader whose class is missing": Case(
        error=DatasetInvalid,
        says=("PlaneDataset", "__main__", "class file"),
        given=with_dataset(lambda: of_module(saved(DataLoader(PlaneDataset())), b"__main__")),
    ),
    "a loader whose module is missing": Case(
        error=DatasetInvalid,
        says=("module my_own_dataset",),
        given=with_dataset(lambda: of_module(saved(DataLoader(PlaneDataset())), b"my_own_dataset")),
    ),
    "a loader of paths": Case(
        error=DatasetInvalid,
        says=("holds the paths", "/kaggle/input/planes/0.png", "TensorDataset(images, labels)"),
        model=net("import torch\n", "import torch\nfrom pathlib import Path\n"),
        given=with_dataset(lambda: DataLoader(PathDataset())),
    ),
    "a loader without samples": Case(
        error=DatasetInvalid,
        says=("no samples",),
        given=with_dataset(lambda: DataLoader(TensorDataset(torch.zeros(0, 1, 28, 28)))),
    ),
    "a truncated loader": Case(
        error=DatasetInvalid,
        says=("not finished by torch.save", "lambda"),
        given=with_dataset(lambda: saved(loader((1, 28, 28)))[:2000]),
    ),
    "a loader that is no loader": Case(
        error=DatasetInvalid, says=("a dict with the keys a", "forward takes x"), given=with_dataset(lambda: {"a": 1})
    ),
    "a loader that is a picture": Case(
        error=DatasetInvalid, says=("DataLoader",), given=with_dataset(lambda: b"\x89PNG....")
    ),
    "a compressed loader": Case(
        error=HostileFile,
        says=("train_loader.pth", "compressed"),
        given=with_dataset(lambda: repacked(saved(loader((1, 28, 28))), zipfile.ZIP_DEFLATED)),
    ),
}


def laid_out(folder: Path, case: Case) -> tuple[Any, Any]:
    return upload(folder, case.model, **{"weights": state(), **case.given()})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_upload_is_refused_with_its_own_error(case: Case, tmp_path: Path) -> None:
    request, files = laid_out(tmp_path, case)
    with pytest.raises(CoppiceError) as caught:
        open_upload(request, files)
    assert type(caught.value) is case.error
    assert [words for words in case.says if words not in caught.value.message] == []
    assert str(tmp_path) not in caught.value.message


@pytest.mark.slow  # torch.export takes seconds to load
def test_an_exported_program_is_refused_with_the_lines_that_save_its_state(tmp_path: Path) -> None:
    request, files = laid_out(
        tmp_path, Case(error=UnknownFormat, says=(), given=lambda: {"weights": written_by(exported)})
    )
    with pytest.raises(UnknownFormat, match=r"torch\.export \(\.pt2\)") as caught:
        open_upload(request, files)
    lines = [line for line in caught.value.message.splitlines() if line.startswith("  ")]
    namespace: dict[str, Any] = {}
    with contextlib.chdir(files[Part.WEIGHTS].parent):
        exec(textwrap.dedent("\n".join(lines)), namespace)
        assert torch.load("weights_state.pth").keys() == {"weight", "bias"}


#: One case of every error: a child takes seconds to start.
OF_EVERY_ERROR = {case.error: name for name, case in CASES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[name] for name in OF_EVERY_ERROR.values()], ids=list(OF_EVERY_ERROR.values()))
def test_a_child_leaves_the_error_as_data(case: Case, tmp_path: Path) -> None:
    laid_out(tmp_path, case)
    command = [sys.executable, "-m", "coppice.child", str(tmp_path)]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=False, timeout=120)
    failure = json.loads((tmp_path / "out" / "failure.json").read_text())
    assert done.returncode == case.error.exit_code
    assert failure["code"] == case.error.code
    assert [words for words in case.says if words not in failure["message"]] == []
    assert not (tmp_path / "out" / "report.json").exists()
