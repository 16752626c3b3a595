"""SavedModels read and edited: what every place of the folder says afterwards."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coppice import pipeline
from coppice.errors import CoppiceError, TruncatedFile, UnknownFormat, UnsupportedLayer
from coppice.formats import open_upload
from coppice.formats.keras.network import open_model
from coppice.formats.saved_model import format as saved_model
from coppice.formats.saved_model.bundle import read_bundle
from coppice.formats.saved_model.constants import CantEdit
from coppice.formats.saved_model.protos import Message, read
from coppice.formats.sniff import Kind, sniff
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from tests.saved_model.conftest import FIXTURES
from tests.saved_model.folders import files_of, graph_of, shapes_by_variable, sharded, with_graph, zipped


@pytest.fixture(scope="module")
def pruned(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive with half of every group removed."""
    return cut_in_half(archive, tmp_path_factory.mktemp("pruned") / "pruned.zip")


def cut_in_half(archive: Path, out: Path) -> Path:
    opened = open_model(saved_model.read(archive, archive.name))
    cut = pipeline.prune(opened.network, Request(framework=Framework.KERAS, percent=0.5), lambda _: None)
    saved_model.write(archive, opened.edited(cut.module), out, archive.name)
    return out


def constants(model: Message) -> dict[str, set[tuple[int, ...]]]:
    """Whole numbers of the graph's constants by their name within the layer's scope."""
    found: dict[str, set[tuple[int, ...]]] = {}
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            tensor = node.attr["value"].tensor
            if node.op == "Const" and tensor.dtype == 3 and "save" not in function.signature.name:
                raw = np.frombuffer(tensor.tensor_content, "<i4").tolist() if tensor.tensor_content else tensor.int_val
                layer = re.match(r"__inference_(.+)_layer_call", function.signature.name)
                scope = node.name if layer is None else f"{layer[1]}/{node.name}"
                found.setdefault("/".join(scope.split("/")[-3:]), set()).add(tuple(raw))
    return found


@pytest.mark.parametrize("name", ["tf23", "tf212", "memory"])
def test_it_computes_what_tensorflow_computed(name: str) -> None:
    archive = FIXTURES / f"{name}.zip"
    module = open_model(saved_model.read(archive, archive.name)).network.module
    with np.load(archive.with_name(f"{name}-inputs.npz")) as inputs, torch.no_grad():
        (found,) = (module(torch.from_numpy(inputs[given])).numpy() for given in inputs.files)
    with np.load(archive.with_name(f"{name}-outputs.npz")) as wanted:
        np.testing.assert_allclose(found, wanted[wanted.files[0]], rtol=1e-5, atol=1e-6)


def test_every_place_states_the_new_shape_of_a_variable(archive: Path, pruned: Path) -> None:
    before, after = (shapes_by_variable(files_of(path)) for path in (archive, pruned))
    assert all(len(shapes) == 1 for shapes in after.values())
    assert before["conv2d/kernel"] == {(3, 3, 1, 6)}
    assert after["conv2d/kernel"] == {(3, 3, 1, 3)}
    momentum = next(name for name in after if name.startswith("SGD") and "conv2d/kernel" in name)
    assert after[momentum] == {(3, 3, 1, 3)}


def test_constants_that_count_channels_follow_and_others_stay(archive: Path, pruned: Path) -> None:
    before, after = (constants(graph_of(files_of(path))) for path in (archive, pruned))
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    expected = {
        "flatten/Const": ({(-1, 80)}, {(-1, 48)}),  # 16 positions of 5 and of 3 channels: a tie keeps its channel
        "conv2d_transpose/stack/3": ({(4,)}, {(2,)}),
        "Reshape/shape/2": ({(4,)}, {(2,)}),
        "Tensordot/Const_2": ({(5,)}, {(3,)}),
    }
    for name, sizes in expected.items():
        assert sizes in [changed[one] for one in changed if one.endswith(name)]
    assert all(any(name.endswith(stem) for stem in expected) for name in changed)


def test_records_of_keras_state_the_new_sizes(pruned: Path) -> None:
    files = files_of(pruned)
    if "keras_metadata.pb" in files:
        texts = [node.metadata for node in read("SavedMetadata", files["keras_metadata.pb"], "test").nodes]
    else:
        nodes = graph_of(files).meta_graphs[0].object_graph_def.nodes
        texts = [node.user_object.metadata for node in nodes if node.user_object.metadata]
    records = {record["name"]: record for record in map(json.loads, texts)}
    assert records["conv2d"]["config"]["filters"] == 3
    assert records["conv2d_transpose"]["input_spec"]["config"]["axes"] == {"-1": 3}
    assert records["conv2d_transpose"]["build_input_shape"]["items"] == [None, 2, 2, 3]
    root = next(record for record in records.values() if "training_config" in record)
    layers = {layer["config"]["name"]: layer["config"] for layer in root["config"]["layers"]}
    assert layers == {layer["config"]["name"]: layer["config"] for layer in root["model_config"]["config"]["layers"]}
    assert layers["reshape"]["target_shape"]["items"] == [16, 2]
    assert root["training_config"]["optimizer_config"]["config"]["momentum"] == pytest.approx(0.9)


def test_a_layer_inside_a_layer_follows_in_graph_and_records(tmp_path: Path) -> None:
    archive = FIXTURES / "memory.zip"
    before, after = (files_of(path) for path in (archive, cut_in_half(archive, tmp_path / "cut.zip")))
    was, now = (constants(graph_of(files)) for files in (before, after))
    stated = {name: (was[name], now[name]) for name in now if was[name] != now[name]}
    expected = {
        "zeros/packed/1": ({(4,)}, {(2,)}),
        "TensorListStack/element_shape": ({(-1, 4)}, {(-1, 2)}),
        "TensorListFromTensor/element_shape": ({(-1, 6)}, {(-1, 3)}),
        "time_distributed/Reshape_1/shape": ({(-1, 3, 6)}, {(-1, 3, 3)}),
    }
    for name, sizes in expected.items():
        assert sizes in [change for one, change in stated.items() if one.endswith(name)]
    texts = [node.metadata for node in read("SavedMetadata", after["keras_metadata.pb"], "test").nodes]
    records = {record["name"]: record for record in map(json.loads, texts)}
    assert records["lstm_cell"]["config"]["units"] == 2
    assert records["dense"]["config"]["units"] == 3
    names = {function.signature.name for function in graph_of(after).meta_graphs[0].graph_def.library.function}
    assert not [name for name in names if "__backward" in name or "__forward" in name]


def test_the_fingerprint_of_the_old_graph_is_left_out(archive: Path, pruned: Path) -> None:
    before, after = set(files_of(archive)), set(files_of(pruned))
    assert before - after <= {"fingerprint.pb"}
    assert after <= before


def test_an_edit_that_changes_nothing_gives_the_same_objects_and_arrays(archive: Path, tmp_path: Path) -> None:
    file = saved_model.read(archive, archive.name)
    saved_model.write(archive, file, tmp_path / "same.zip", archive.name)
    before, after = (graph_of(files_of(path)).meta_graphs[0] for path in (archive, tmp_path / "same.zip"))
    assert shapes_by_variable(files_of(archive)) == shapes_by_variable(files_of(tmp_path / "same.zip"))
    assert [node.children for node in before.object_graph_def.nodes] == [
        node.children for node in after.object_graph_def.nodes
    ]
    for layer, again in zip(file.layers, saved_model.read(tmp_path / "same.zip", "same.zip").layers, strict=True):
        for array, copy in zip(layer.arrays, again.arrays, strict=True):
            np.testing.assert_array_equal(array.value, copy.value)


def test_variables_in_several_shards_are_cut_as_in_one_and_stay_in_several(
    archive: Path, pruned: Path, tmp_path: Path
) -> None:
    whole = zipped(sharded(files_of(archive), 3), tmp_path / "sharded.zip")
    cut = cut_in_half(whole, tmp_path / "cut.zip")
    files, expected = files_of(cut), files_of(pruned)
    assert sum(name.startswith("variables/variables.data-0000") for name in files) == 3
    found, wanted = (read_bundle("test", one.__getitem__) for one in (files, expected))
    assert {key: found.raw(key) for key in found.entries} == {key: wanted.raw(key) for key in wanted.entries}
    assert files["saved_model.pb"] == expected["saved_model.pb"]


def test_a_zip_of_powershell_with_backslashes_is_read(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(tmp_path / "windows.zip", "w") as made:
        for name in opened.namelist():
            made.writestr(name.replace("/", "\\"), b"" if name.endswith("/") else opened.read(name))
    assert sniff(tmp_path / "windows.zip") is Kind.SAVED_MODEL
    found, wanted = (saved_model.read(path, path.name) for path in (tmp_path / "windows.zip", archive))
    assert found.config == wanted.config
    assert len(found.layers) == len(wanted.layers)


def test_a_zip_of_macos_keeps_the_model_and_loses_the_clutter(archive: Path, pruned: Path, tmp_path: Path) -> None:
    files = files_of(archive)
    with zipfile.ZipFile(zipped(files, tmp_path / "mac.zip"), "a") as made:
        for name in ("__MACOSX/tiny/._saved_model.pb", "tiny/.DS_Store", "tiny/variables/.DS_Store"):
            made.writestr(name, b"clutter")
    assert files_of(cut_in_half(tmp_path / "mac.zip", tmp_path / "out.zip")) == files_of(pruned)


def test_a_folder_in_a_tarball_is_refused_with_what_to_do(archive: Path, tmp_path: Path) -> None:
    for name, mode in (("model.tar", "w"), ("model.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as made:  # type: ignore[call-overload]  # the mode is no literal here
            for member, content in files_of(archive).items():
                info = tarfile.TarInfo(f"tiny/{member}")
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
        request = Request(framework=Framework.KERAS, percent=0.5, files={Part.MODEL: name})
        with pytest.raises(UnknownFormat, match=r"zip -r model\.zip FOLDER"):
            open_upload(request, {Part.MODEL: tmp_path / name})


def test_a_saved_model_of_tensorflow_1_is_refused_with_the_way_over_onnx(archive: Path, tmp_path: Path) -> None:
    files = with_graph(files_of(archive), lambda graph: graph.ClearField("object_graph_def"))
    with pytest.raises(UnsupportedLayer, match=r"TensorFlow 1 or an Estimator.*tf2onnx"):
        saved_model.read(zipped(files, tmp_path / "one.zip"), "one.zip")


@pytest.mark.slow
def test_an_unknown_operator_gives_an_h5_and_says_so(archive: Path, tmp_path: Path) -> None:
    def edit(graph: Message) -> None:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "Relu":
                    node.op = "Mystery"

    strange = zipped(with_graph(files_of(archive), edit), tmp_path / "strange.zip")
    request = Request(framework=Framework.KERAS, percent=0.5, files={Part.MODEL: strange.name})
    report = pipeline.run(request, {Part.MODEL: strange}, tmp_path, lambda _: None)
    assert report.artifacts[0].file == "strange_pruned.h5"
    assert "the operator Mystery" in next(note for note in report.notes if "can't be edited" in note)
    assert not (tmp_path / "strange_pruned.zip").exists()


def test_a_constant_that_is_not_what_its_layer_states_stops_the_edit(archive: Path, tmp_path: Path) -> None:
    def edit(graph: Message) -> None:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.name.endswith("Tensordot/Const_2"):
                    node.attr["value"].tensor.int_val[:] = [7]

    strange = zipped(with_graph(files_of(archive), edit), tmp_path / "strange.zip")
    with pytest.raises(CantEdit, match=r"Tensordot/Const_2 of a Dense is \(7,\)"):
        cut_in_half(strange, tmp_path / "out.zip")


@pytest.mark.parametrize(
    ("file", "at"), [("variables/variables.index", 40), ("variables/variables.data-00000-of-00001", 2000)]
)
def test_a_flipped_byte_is_noticed(archive: Path, tmp_path: Path, file: str, at: int) -> None:
    files = files_of(archive)
    damaged = bytearray(files[file])
    damaged[at] ^= 1
    with pytest.raises(TruncatedFile):
        saved_model.read(zipped({**files, file: bytes(damaged)}, tmp_path / "damaged.zip"), "damaged.zip")


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_a_file_that_was_cut_is_called_damaged(archive: Path, tmp_path: Path, file: str, share: float) -> None:
    files = files_of(archive)
    cut = {**files, file: files[file][: int(share * len(files[file]))]}
    with pytest.raises((TruncatedFile, UnsupportedLayer)):
        saved_model.read(zipped(cut, tmp_path / "cut.zip"), "cut.zip")


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_damage_is_never_our_own_fault(data: st.DataObject) -> None:
    files = files_of(FIXTURES / f"{data.draw(st.sampled_from(['tf23', 'tf212']))}.zip")
    name = data.draw(st.sampled_from(sorted(set(files) - {"fingerprint.pb"})))
    damaged = bytearray(files[name])
    start = data.draw(st.integers(0, len(damaged) - 1))
    damaged[start : start + 4] = data.draw(st.binary(min_size=1, max_size=8))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(CoppiceError):
        saved_model.read(zipped({**files, name: bytes(damaged)}, Path(folder) / "damaged.zip"), "damaged.zip")


def test_a_folder_without_its_variables_is_called_damaged(archive: Path, tmp_path: Path) -> None:
    files = {name: content for name, content in files_of(archive).items() if "variables" not in name}
    with pytest.raises(TruncatedFile, match=r"no tiny/variables/variables\.index"):
        saved_model.read(zipped(files, tmp_path / "part.zip"), "part.zip")


def test_a_saved_model_that_keras_did_not_write_is_refused_by_that_name(archive: Path, tmp_path: Path) -> None:
    def edit(graph: Message) -> None:
        for node in graph.object_graph_def.nodes:
            if node.HasField("user_object"):
                node.user_object.metadata = ""

    files = with_graph(files_of(archive), edit)
    files.pop("keras_metadata.pb", None)
    with pytest.raises(UnsupportedLayer, match="without Keras' own record"):
        saved_model.read(zipped(files, tmp_path / "module.zip"), "module.zip")
