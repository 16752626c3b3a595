"""Samples as a user sends them: how many are read, which are left out, and what their labels are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler, TensorDataset

from coppice.errors import DatasetInvalid
from coppice.formats import samples as rules
from coppice.formats.dataset import ROWS, Takes, read_arrays
from coppice.formats.given import given, save_given
from coppice.formats.samples import MOST, Read
from coppice.tracing.samples import FEWEST

IMAGES = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(64) % 3


def model(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes)).eval()


def read(samples: Any, module: nn.Module | None = None, **options: Any) -> Read:
    return given(samples, module or model(), **{"inputs": None, "seed": 0, **options})


def rows(read: Read) -> set[tuple[float, ...]]:
    assert read.samples is not None
    return {tuple(row.flatten().tolist()) for row in read.samples.inputs[0]}


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(IMAGES, LABELS), **{"batch_size": 10, **options})


class Endless(IterableDataset[Any]):
    """The images again and again, counting how many were taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.taken += 1
            yield torch.full((1, 6, 6), float(self.taken)), self.taken % 3


class Failing(Dataset[Any]):
    """Good for 40 samples."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        if index >= 40:
            raise OSError("the disk is on fire")
        return IMAGES[index], LABELS[index]


class Growing(Dataset[Any]):
    """Every third image is taller."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 8 if index % 3 == 2 else 6, 6), float(index)), index % 3


@pytest.mark.parametrize(
    "samples",
    [
        loader(),
        loader(shuffle=True, num_workers=2),
        loader(batch_size=None),
        loader(batch_size=None, sampler=BatchSampler(SequentialSampler(range(64)), 16, drop_last=False)),
        loader(batch_size=1, batch_sampler=BatchSampler(SequentialSampler(range(64)), 5, drop_last=False)),
        TensorDataset(IMAGES, LABELS),
        (IMAGES, LABELS),
        (IMAGES.numpy(), LABELS.numpy()),
        (IMAGES.double(), nn.functional.one_hot(LABELS)),
        (IMAGES, LABELS[:, None].float()),
        {"input": IMAGES, "label": LABELS},
        {"X": IMAGES.numpy(), "Y": LABELS.numpy()},
        [(IMAGES[:20], LABELS[:20]), (IMAGES[20:], LABELS[20:])],
        [(image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)],
        [[(IMAGES,), LABELS]],
        [{"image": IMAGES, "targets": LABELS.tolist()}],
        [({"input": IMAGES}, LABELS)],
    ],
    ids=[
        "in order",
        "shuffled",
        "sample by sample",
        "whole batches of the data",
        "a batch sampler",
        "a data set",
        "tensors",
        "arrays",
        "one-hot",
        "a column of floats",
        "by name",
        "by an alias",
        "batches",
        "a list of samples",
        "nested",
        "a list of labels",
        "labels beside names",
    ],
)
def test_all_samples_come_with_their_labels(samples: Any) -> None:
    found = read(samples)
    assert found.samples is not None
    label_of = {tuple(image.flatten().tolist()): int(label) for image, label in zip(IMAGES, LABELS, strict=True)}
    assert rows(found) == label_of.keys()
    assert found.samples.classified
    assert found.samples.labels is not None
    expected = [label_of[tuple(row.flatten().tolist())] for row in found.samples.inputs[0]]
    assert found.samples.labels.tolist() == expected
    assert found.notes == ()


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_can_be_found_again_by_its_number(shuffle: bool) -> None:
    images = torch.arange(3000.0).reshape(3000, 1, 1, 1).expand(3000, 1, 6, 6)
    for samples in (DataLoader(TensorDataset(images), batch_size=7, shuffle=shuffle), images):
        found = read(samples).samples
        assert found is not None
        assert found.rows is not None
        assert len(found.rows) == MOST
        assert torch.equal(images[found.rows], found.inputs[0])


def test_numbers_are_kept_through_a_file(tmp_path: Path) -> None:
    values = torch.arange(3000.0)[:, None]
    with np.load(save_given(values, tmp_path, seed=0)) as written:
        assert written[ROWS].tolist() == written["arr_0"][:, 0].tolist()
    found = read_arrays(tmp_path / "samples.npz", [Takes(name="x")], file="samples.npz", seed=0).samples
    assert found.rows is not None
    assert found.rows.tolist() == found.inputs[0][:, 0].tolist()


def test_no_more_is_read_than_is_used() -> None:
    stream = Endless()
    found = read(DataLoader(stream, batch_size=48))
    assert len(rows(found)) == MOST
    assert stream.taken < MOST + 48


def test_memory_bounds_the_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_BYTES", 20 * (36 * 4 + 8))
    assert len(rows(read(loader()))) == 20


def test_of_sorted_data_samples_of_every_class_are_read() -> None:
    images, labels = torch.randn(4096, 1, 6, 6), torch.arange(4096) // 1366
    for samples in (DataLoader(TensorDataset(images, labels), batch_size=64), (images, labels)):
        found = read(samples).samples
        assert found is not None
        assert found.labels is not None
        # Those held out, too: the last ones.
        assert set(found.labels[-100:].tolist()) == {0, 1, 2}


def test_the_same_seed_gives_the_same_samples_and_another_one_others() -> None:
    class Augmented(Dataset[Any]):
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> Any:
            return IMAGES[index] + torch.rand(1) + np.random.rand() + index

    module = model()

    def numbers(seed: int) -> list[float]:
        found = read(DataLoader(Augmented(), batch_size=4, shuffle=True), module, seed=seed).samples
        assert found is not None
        return found.inputs[0].flatten().tolist()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert numbers(1) == numbers(1) != numbers(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_failure_after_the_first_samples_is_a_note() -> None:
    found = read(DataLoader(Failing(), batch_size=8))
    assert len(rows(found)) == 40
    assert "stopped after 40" in found.notes[0]
    assert "on fire" in found.notes[0]


def test_samples_of_another_shape_are_left_out_aloud() -> None:
    found = read(DataLoader(Growing(), batch_size=1))
    assert len(rows(found)) == 43
    assert found.notes == ("21 samples are of another shape than the first, 1,6,6, and are left out.",)


def test_samples_that_are_not_finite_are_left_out_aloud() -> None:
    spoiled = IMAGES.clone()
    spoiled[0, 0, 2, 3], spoiled[17, 0, 0, 0] = torch.nan, torch.inf
    found = read((spoiled, LABELS))
    assert rows(found) == {
        tuple(image.flatten().tolist()) for place, image in enumerate(IMAGES) if place not in (0, 17)
    }
    assert torch.equal(found.inputs[0], IMAGES[1:3])
    assert found.notes == ("2 of 64 samples hold NaN or infinite numbers and are left out.",)


def test_samples_none_of_which_is_finite_are_refused() -> None:
    with pytest.raises(DatasetInvalid, match="none of the 64 samples"):
        read(IMAGES * torch.nan)


@pytest.mark.parametrize("samples", [IMAGES[: FEWEST - 1], torch.ones(64, 1, 6, 6), IMAGES[:1]])
def test_too_few_different_samples_run_the_model_and_repair_nothing(samples: torch.Tensor) -> None:
    found = read(samples)
    assert found.samples is None
    assert torch.equal(found.inputs[0], samples[:2].expand(2, 1, 6, 6))
    assert "too few to repair" in found.notes[0]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.where(LABELS == 1, -1, LABELS), "21 of 64 are negative"),
        (LABELS + 1, "classes up to 3, and the model tells 3 apart"),
        (torch.full((64,), torch.nan), "NaN"),
        (LABELS[:9], "9 of them for 64 samples"),
        (torch.rand(64), "the shape () and the model gives 3"),
        (torch.zeros(64, 6, 6, dtype=torch.int64), "the shape 6,6"),
    ],
)
def test_labels_that_fit_no_output_are_dropped_aloud(labels: torch.Tensor, says: str) -> None:
    found = read((IMAGES, labels))
    assert found.samples is not None
    assert found.samples.labels is None
    assert [says in note for note in found.notes] == [True]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (torch.rand(64, 3), 3, torch.float32),
        (torch.rand(64), 1, torch.float32),
        (torch.arange(64), 1, torch.float32),  # ages, say
        (LABELS % 2, 1, torch.int64),
        ((LABELS % 2).float()[:, None], 1, torch.int64),
    ],
    ids=["targets", "one target", "whole targets", "yes or no", "yes or no as a column"],
)
def test_the_outputs_decide_what_labels_are(labels: torch.Tensor, classes: int, expected: torch.dtype) -> None:
    found = read((IMAGES, labels), model(classes)).samples
    assert found is not None
    assert found.labels is not None
    assert found.labels.dtype is expected
    assert sorted(found.labels.flatten().tolist()) == sorted(labels.flatten().tolist())
    assert found.labels.shape == ((64, classes) if expected is torch.float32 else (64,))


def test_whole_numbers_become_fractions_unscaled_where_the_model_computes_with_those() -> None:
    pixels = torch.randint(0, 256, (64, 1, 6, 6), dtype=torch.uint8)
    found = read(pixels)
    assert rows(found) == {tuple(map(float, image.flatten().tolist())) for image in pixels}
    assert "uint8" in found.notes[0]
    assert "not scaled" in found.notes[0]


def test_tokens_stay_whole_numbers_and_must_all_be_in_the_table() -> None:
    words = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3)).eval()
    tokens = torch.randint(0, 10, (64, 5))
    found = read(tokens, words).samples
    assert found is not None
    assert found.inputs[0].dtype is torch.int64
    tokens[50, 2] = 10
    with pytest.raises(DatasetInvalid, match="from 0 to 10"):
        read(tokens, words)


def test_what_would_fit_is_said() -> None:
    with pytest.raises(DatasetInvalid, match=r"64,6,6|2,6,6") as caught:
        read((IMAGES[:, 0], LABELS))
    assert "x[:, None]" in caught.value.message


class Halves(nn.Module):
    """Takes batches of 2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 36)


def test_a_model_of_one_batch_size_is_given_batches_of_that_size() -> None:
    found = read(IMAGES[:63], Halves())
    assert "batches of 2 and not of 3" in found.notes[0]
    assert found.samples is not None
    fitted, held_out = found.samples.split()
    for part, count in ((fitted, 50), (held_out, 12)):
        assert [len(batch) for batch in part.batches(64)] == [2] * (count // 2)


class Scaled(nn.Module):
    """Two inputs, the second a number for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = model()

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * scale  # type: ignore[no-any-return]


def test_an_input_without_axes_is_a_number_for_all_samples() -> None:
    found = read(
        [(IMAGES[:32], torch.tensor(2.0), LABELS[:32]), (IMAGES[32:], torch.tensor(2.0), LABELS[32:])], Scaled()
    )
    assert found.samples is not None
    assert len(found.samples) == 64
    assert found.samples.inputs[1].item() == 2


def test_which_of_two_entries_the_labels_are_is_not_guessed() -> None:
    found = read((IMAGES, LABELS, torch.arange(64)))
    assert found.samples is not None
    assert found.samples.labels is None
    assert "which of 2 entries" in found.notes[0]


@pytest.mark.parametrize("samples", [[IMAGES, LABELS], "images", 3, [], object(), {"left": IMAGES, "right": IMAGES}])
def test_what_is_no_sample_is_refused(samples: Any) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        read(samples)
    assert caught.value.field == "samples"


@pytest.mark.parametrize(
    ("samples", "arrays"),
    [
        ((IMAGES, LABELS), {"arr_0": (64, 1, 6, 6), "arr_1": (64,)}),
        (loader(shuffle=True), {"arr_0": (64, 1, 6, 6), "arr_1": (64,)}),
        ({"image": IMAGES.bfloat16(), "y": LABELS}, {"image": (64, 1, 6, 6), "y": (64,)}),
        (
            [(image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)],
            {"arr_0": (64, 1, 6, 6), "arr_1": (64,)},
        ),
        (torch.zeros(2000, 3), {"arr_0": (MOST, 3)}),
    ],
)
def test_samples_for_other_frameworks_are_written_as_arrays(
    samples: Any, arrays: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    with np.load(save_given(samples, tmp_path, seed=0), allow_pickle=False) as written:
        assert {name: written[name].shape for name in written if name != ROWS} == arrays


def test_batches_of_several_kinds_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="a batch is a"):
        save_given([SimpleNamespace(x=IMAGES)], tmp_path, seed=0)
