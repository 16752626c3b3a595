"""What was done, what was refused and why, what it cost and what it won: the record that every front shows."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from pydantic import Field

from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import Part, Record, Request


class Progress(Record):
    """One step of a running job."""

    step: str = Field(max_length=64, description="word of the pipeline's arrow: read, trace, score, ...")
    fraction: float = Field(ge=0, le=1, description="share of the whole job that is done")
    detail: str = Field(default="", max_length=500, description="what of that step, where there is more to say")


#: Where a job tells how far it is.
Tell = Callable[[Progress], None]


class GroupReport(Record):
    """One coupled set of channels: what was asked of it, what was done."""

    name: str = Field(
        description="its first producer; with the positions of that layer's channels, as a slice, where several groups "
        "share the layer: attn.qkv[0:384]"
    )
    layers: tuple[str, ...] = Field(description="every layer whose output channels belong to the group")
    channels: int = Field(description="units before the cut")
    asked: int = Field(description="units that the request means: by `percent`, or its ratio, or its spread and target")
    removed: int = Field(description="units removed")
    reason: str | None = Field(default=None, description="why another number was removed than asked")
    parameters: float | None = Field(
        default=None,
        description="share of the model's parameters that the group's slices hold, of an inspection; a weight between "
        "two groups counts in both",
    )
    macs: float | None = Field(
        default=None, description="share of the model's multiply-accumulates, counted likewise, of an inspection"
    )


class FrozenReport(Record):
    """Channels that no plan may remove, and why."""

    layers: tuple[str, ...] = Field(description="that have or read them")
    channels: int = Field(description="how many")
    reason: str = Field(description="why they stay")


class Check(StrEnum):
    """How far a verification reached."""

    EXACT = "exact"  # pruned == masked dense, to rounding
    STATISTICS = "statistics"  # equal once the statistics over channels (layer norm) are held equal in both models
    NONE = "none"  # nothing was removed, or no part of the model could be run


class Verification(Record):
    """The oracle's verdict: the dense model with the removed slots zeroed against the pruned model."""

    check: Check
    dtype: str = "float64"
    max_relative_difference: float | None = None
    tolerance: float | None = None
    notes: tuple[str, ...] = ()


class Cost(Record):
    """What a model costs to keep and to run."""

    parameters: int
    bytes: int = Field(description="parameters and buffers as stored, in bytes")
    macs: int = Field(description="multiply-accumulates of one sample")
    activation_bytes: int | None = Field(
        default=None,
        description="largest sum of the tensors alive at once in the forward pass of one sample, its input included "
        "and what is stored in the model not, bytes",
    )
    file_bytes: int | None = Field(
        default=None, description="of the file that was sent with the weights, and of the same kind of file given back"
    )
    latency_ms: float | None = Field(
        default=None, description="median of one sample, milliseconds, both models by turns"
    )
    latency_spread_ms: float | None = Field(default=None, description="interquartile range, milliseconds")


class LayerCost(Record):
    """What one layer adds to the costs."""

    parameters: int
    macs: int = Field(description="multiply-accumulates of one sample at its weights")


class LayerCosts(Record):
    """One layer with parameters of its own, before and after the cut."""

    name: str
    before: LayerCost
    after: LayerCost


class Distance(StrEnum):
    """How far outputs are from the original's."""

    JS = "js"  # mean Jensen-Shannon divergence of probabilities, nats: 0 to ln 2
    MSE = "mse"  # mean squared difference over the variance of the original's outputs


class Fidelity(Record):
    """How good a model is on the samples that nothing was fitted to, and how near its outputs are to the original's."""

    accuracy: float | None = Field(default=None, description="share of the samples classified as their labels say")
    agreement: float | None = Field(default=None, description="share classified as the original does")
    error: float | None = Field(
        default=None, description="of a regression: mean squared error over the variance of the targets"
    )
    distance: float | None = Field(
        description="of the outputs from the original's, in the terms of `Quality.distance`; null where they are not "
        "numbers, or have other shapes: infinitely far"
    )


#: The way of a cut that is given back as it is.
AS_CUT = "cut"


class Candidate(Record):
    """One way to give the cut model back that was tried."""

    method: str = Field(description="cut, batch_norm, least_squares or residual")
    fidelity: Fidelity
    chosen: bool = False


class Quality(Record):
    """What the samples say of the cut, before and after the repair."""

    samples: int = Field(description="that were used")
    held_out: int = Field(description="of these, the ones that nothing was fitted to; all figures are of them")
    rows: tuple[int, ...] = Field(
        default=(),
        description="the numbers of those in what was sent, from 0; where a loader's own sampler decides "
        "what comes, in its order",
    )
    distance: Distance = Field(
        description="js (mean Jensen-Shannon divergence of probabilities, nats: 0 to ln 2) or mse (mean squared "
        "difference over the variance of the original's outputs)"
    )
    before: Fidelity = Field(description="of the model as it was sent")
    cut: Fidelity = Field(description="of the cut model, before anything was repaired")
    restored: Fidelity = Field(description="of the model that is given back")
    candidates: tuple[Candidate, ...] = Field(default=(), description="every way to give it back that was tried")
    repaired: tuple[str, ...] = Field(default=(), description="tensors whose weights were fitted")
    left: dict[str, str] = Field(default_factory=dict, description="tensor -> why its weights were not")


class Arithmetic(StrEnum):
    """What a runtime computes a quantized model in."""

    INTEGER = "integer"  # every product with weights in whole numbers
    MIXED = "mixed"  # some
    FLOAT = "float"  # none: whole numbers save room in the file, and neither time nor memory


class LayerPrecision(Record):
    """How the weights of one layer are kept."""

    name: str
    tensor: str = Field(description="of the model that was quantized")
    parameters: int
    precision: Precision
    rounding: Rounding | None = Field(default=None, description="how its weights became whole numbers")
    reason: str | None = Field(default=None, description="why it is kept otherwise than was asked")


class Raised(Record):
    """One try on the way to the smallest model within `max_drop`."""

    layers: dict[Precision, int] = Field(description="how many are kept in each precision")
    bytes: int = Field(description="of all weights")
    drop: float | None = Field(description="what was lost on the samples held out; null where outputs were no numbers")
    accepted: bool


class Quantized(Record):
    """The account of a quantized file: what it holds, what its runtime does with it, and how good it is there."""

    output_format: Format
    runtime: str = Field(description="that ran the file, and its version")
    weights: Precision = Field(description="as asked")
    biases: Precision = Field(description="as asked, or what goes with it")
    activations: Activations = Field(description="as asked, or what goes with it")
    layers: tuple[LayerPrecision, ...] = Field(description="every layer that multiplies by stored weights")
    file_bytes: int = Field(description="of the file")
    float_file_bytes: int = Field(description="of the model that was quantized, in the same kind of file")
    bytes_by_type: dict[str, int] = Field(description="data type -> bytes of the tensors of that type in the file")
    arithmetic: Arithmetic = Field(description="integer, mixed or float: what the runtime computes products in")
    operators: dict[str, int] = Field(description="that multiply by weights, as the runtime runs them")
    floating: dict[str, str] = Field(
        default_factory=dict, description="layer computed in floats though whole numbers were asked for -> why"
    )
    fidelity: Fidelity | None = Field(
        default=None, description="of the file in its runtime, against the model as it was sent; on samples held out"
    )
    float_fidelity: Fidelity | None = Field(default=None, description="likewise, of the model that was quantized")
    snr_db: float | None = Field(
        default=None,
        description="power of the outputs of the model that was quantized over that of the file's difference from "
        "them, decibels; null where they are equal",
    )
    latency_ms: float | None = Field(default=None, description="median of one sample in the runtime, milliseconds")
    latency_spread_ms: float | None = Field(default=None, description="interquartile range, milliseconds")
    float_latency_ms: float | None = Field(
        default=None, description="median of the float model in the same runtime, by turns, milliseconds"
    )
    float_latency_spread_ms: float | None = Field(default=None, description="interquartile range, milliseconds")
    trials: tuple[Raised, ...] = Field(default=(), description="of the search that `max_drop` means, in their order")


class Trial(Record):
    """One cut that was tried on the way to the largest that keeps within `max_drop`."""

    share: float = Field(description="share of the prunable channels that went")
    parameters: int = Field(description="that were left")
    drop: float | None = Field(
        description="what the repaired cut lost on the samples held out, in the terms of `max_drop`; null where its "
        "outputs were no numbers"
    )
    accepted: bool


class InputFile(Record):
    """A file of the request, so that the job can be repeated on the very same."""

    name: str
    bytes: int
    sha256: str


class Machine(Record):
    """Where latency was measured."""

    processor: str
    threads: int


class Artifact(Record):
    """One file of a result."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="what `artifact=` asks for")
    file: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="file name in the result folder")
    media_type: str = Field(default="application/octet-stream", max_length=100)


class Account(Record):
    """What every job tells: of the model's channels, and in which files it left the rest."""

    coppice: str = Field(description="version of Coppice")
    request: Request = Field(description="as it was understood")
    versions: dict[str, str] = Field(default_factory=dict, description="of what computed, package -> version")
    inputs: dict[Part, InputFile] = Field(
        default_factory=dict, description="the files of the request; none of a model that was live"
    )
    groups: tuple[GroupReport, ...] = Field(default=(), description="channels that go together, with what went")
    frozen: tuple[FrozenReport, ...] = Field(default=(), description="channels that no plan may remove")
    summary: str = Field(description="the status message when done")
    notes: tuple[str, ...] = Field(default=(), description="what was left out, changed or could not be covered")
    artifacts: tuple[Artifact, ...] = Field(default=(), description="the files of the result")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        # Pages are made of records; and nobody but a notebook has a use for one here.
        from coppice.pages import render_cell

        return render_cell(self)


class Report(Account):
    """The whole account of one pruning; its summary is the layer table of the pruned model."""

    verification: Verification = Field(description="the check that the cut is exact")
    before: Cost = Field(description="of the model as it was sent")
    after: Cost = Field(description="of the model that is given back")
    layers: tuple[LayerCosts, ...] = Field(
        default=(), description="where parameters and multiply-accumulates are, in the model's order"
    )
    criterion: str = Field(default="l1", description="what decided which channels go")
    quality: Quality | None = Field(default=None, description="None where no samples were sent")
    trials: tuple[Trial, ...] = Field(default=(), description="of the search that `max_drop` means, in their order")
    quantized: Quantized | None = Field(default=None, description="of the quantized file, where one was asked for")
    warnings: tuple[str, ...] = Field(default=(), description="what was not won though channels went")
    machine: Machine | None = Field(default=None, description="that latency was measured on")

    @property
    def repaired(self) -> bool:
        """Whether weights that stayed have other values than in the original."""
        candidates = self.quality.candidates if self.quality else ()
        return any(candidate.chosen and candidate.method != AS_CUT for candidate in candidates)


class Inspection(Account):
    """What could be pruned and what can't, before anything is cut; its summary is a table of both."""

    parameters: int = Field(description="of the whole model")
    macs: int = Field(description="multiply-accumulates of one sample")


class Failure(Record):
    """Why a job ended without a result: an error of `coppice.errors` as data."""

    code: str = Field(max_length=64)
    message: str = Field(max_length=8000)
    field: str | None = Field(default=None, max_length=200)
