"""A script, not a module of ours: make a `.tflite` file of few bits from one in floats whose weights lie on grids.

Run by `clean_process` in the environment of LiteRT; the paths of job and verdict come on standard input. What AI Edge
Quantizer makes of weights is replaced by reading off their grids: its own recovery takes the smallest distance
of two weights for the scale, which is wrong where no two neighbours of a grid occur. Its calibration is replaced by
true extremes: it follows a moving average, which cuts off what only some samples show.
"""

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithms.uniform_quantize import common_quantize, naive_min_max_quantize
from ai_edge_quantizer.algorithms.utils import common_utils
from ai_edge_quantizer.utils import qsv_utils, tfl_flatbuffer_utils

#: The key under which the reading of grids is registered; the quantizer takes none that it doesn't know.
GRID = algorithm_manager.AlgorithmName.DEQUANTIZED_WEIGHT_RECOVERY
EXTREMES = algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT
LEFT = algorithm_manager.AlgorithmName.NO_QUANTIZE

OPERATION = qtyping.TFLOperationName
#: Operators that multiply by weights -> how the quantizer writes them.
PRODUCTS = {
    OPERATION.CONV_2D: common_quantize.materialize_fc_conv,
    OPERATION.DEPTHWISE_CONV_2D: common_quantize.materialize_fc_conv,
    OPERATION.FULLY_CONNECTED: common_quantize.materialize_fc_conv,
    OPERATION.CONV_2D_TRANSPOSE: common_quantize.materialize_conv2d_transpose,
}
#: The fewest bits that LiteRT has a kernel for.
FEWEST = {OPERATION.CONV_2D: 4, OPERATION.FULLY_CONNECTED: 4}
#: Their kernel that rounds what flows at every run is none of XNNPACK's: it is slower than floats.
UNPACKED = frozenset({OPERATION.DEPTHWISE_CONV_2D})
LARGEST = {8: 127, 4: 7}
#: How far from a whole number a weight may be, in units of the scale: float32 and the folding of a batch norm round.
NEAR = 2e-3


def scales_of(weights: Any, axis: int, largest: int) -> Any:
    """The scale of the grid of each channel, by the fewest numbers that explain it; None where there is no grid."""
    rows = np.abs(np.moveaxis(np.asarray(weights, np.float64), axis, 0).reshape(weights.shape[axis], -1))
    top = rows.max(axis=1)
    found = np.where(top == 0, 1.0, 0.0)
    for count in range(1, largest + 1):
        left = found == 0
        if not left.any():
            break
        codes = rows[left] * (count / top[left])[:, None]
        on_grid = np.abs(codes - codes.round()).max(axis=1) < NEAR
        found[np.flatnonzero(left)[on_grid]] = top[left][on_grid] / count
    return found if (found > 0).all() else None


def grid_parameters(op_info: Any, config: Any, tensor_content: Any = None, tensor_qsv: Any = None) -> Any:
    """The quantizer's question for scales and codes, answered from the grid that the weights lie on."""
    if tensor_content is None:
        return naive_min_max_quantize.get_tensor_quant_params(op_info, config, tensor_content, tensor_qsv)
    axis = common_utils.get_weight_quantized_dim(op_info, tensor_content, config.granularity)
    scales = scales_of(tensor_content, axis, LARGEST[config.num_bits])
    shape = [1] * tensor_content.ndim
    shape[axis] = -1
    scales = scales.reshape(shape).astype(np.float32)
    return qtyping.UniformQuantParams(
        scale=scales,
        zero_point=np.zeros_like(scales, dtype=np.int32),
        num_bits=config.num_bits,
        symmetric=True,
        quantized_dimension=axis,
        quantized_data=np.round(tensor_content / scales).astype(np.int8),
    )


def register() -> None:
    """Let the quantizer read grids."""
    for operation, materialize in PRODUCTS.items():
        algorithm_manager.register_quantized_op(
            GRID,
            operation,
            naive_min_max_quantize.init_qsvs,
            calibration_func=naive_min_max_quantize.min_max_calibrate,
            materialize_func=functools.partial(materialize, grid_parameters),
        )


def weights_of(model: Any) -> Iterator[tuple[Any, str, Any]]:
    """Every operator that multiplies by stored weights: its name for the quantizer, its scope, its weights."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            name = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(code)
            if name in PRODUCTS:
                tensor = graph.tensors[operator.inputs[1]]
                values = tfl_flatbuffer_utils.get_tensor_data(tensor, model.buffers)
                if values is not None and tensor.type == schema.TensorType.FLOAT32:
                    yield name, tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors), values


def bits_of(name: Any, weights: Any) -> int | None:
    """The fewest bits that LiteRT computes this operator with and that hold the grid of its weights; None without."""
    axis = tfl_flatbuffer_utils.TFL_OP_TO_WEIGHT_QUANTIZED_DIM[name]
    for bits in sorted(LARGEST):
        if bits >= FEWEST.get(name, 8) and scales_of(weights, axis, LARGEST[bits]) is not None:
            return bits
    return None


def recipe_of(model: Any, kept: list[str], *, static: bool) -> tuple[Any, list[str]]:
    """What to do with every operator: a recipe of the quantizer; and the operators whose weights are rounded again.

    `kept` are names of layers that stay in floats, one of which is a word of an operator's scope then.
    """
    recipe, again = recipe_manager.RecipeManager(), []
    every = OPERATION.ALL_SUPPORTED
    if static:
        recipe.add_static_config(".*", every, 8, 8, algorithm_key=EXTREMES)
        for end in (OPERATION.INPUT, OPERATION.OUTPUT):  # its user feeds floats
            recipe.add_quantization_config(".*", end, algorithm_key=LEFT)
    for name, scope, weights in weights_of(model):
        exactly, bits = f"^{re.escape(scope)}$", bits_of(name, weights)
        key = GRID if bits else EXTREMES
        if bits is None and set(kept).intersection(re.split(r"[/;:]", scope)):
            recipe.add_quantization_config(exactly, name, algorithm_key=LEFT)
            continue
        if bits is None:
            again.append(scope)
        if static:
            recipe.add_static_config(exactly, name, 8, bits or 8, algorithm_key=key)
        elif name in UNPACKED:
            recipe.add_weight_only_config(exactly, name, bits or 8, algorithm_key=key)
        else:
            recipe.add_dynamic_config(exactly, name, bits or 8, algorithm_key=key)
    return recipe, again


def strange(model: Any) -> list[str]:
    """The operators that the quantizer doesn't know."""
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    codes = {entry.builtinCode for entry in model.operatorCodes} - set(tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME)
    return sorted(names[code] for code in codes)


def calibrated(file: Path, recipe: Any, samples: list[dict[str, Any]]) -> Any:
    """The smallest and the largest number of every tensor on the samples."""
    watched = calibrator.Calibrator(str(file), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    watched.calibrate({"serving_default": samples}, recipe)
    return watched.get_model_qsvs()


def main(job_file: str, verdict_file: str) -> None:
    """Quantize the one file of the job."""
    job = json.loads(Path(job_file).read_text())
    register()
    file, static = Path(job["model"]), bool(job["samples"])
    model = tfl_flatbuffer_utils.read_model(str(file))
    recipe, again = recipe_of(model, job["kept"], static=static)
    try:
        extremes = calibrated(file, recipe, fed(job["samples"], job["batch"])) if static else None
        work = quantizer.Quantizer(str(file), recipe.get_quantization_recipe())
        result = work.quantize(extremes, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError) as e:  # what the quantizer raises
        verdict = {"failure": str(e).strip()[:300], "strange": strange(model)}
    else:
        Path(job["out"]).write_bytes(result.quantized_model)
        verdict = {"again": again}
    Path(verdict_file).write_text(json.dumps(verdict))


def fed(files: list[str], batch: int) -> list[dict[str, Any]]:
    """The samples as a signature takes them, a batch at a time."""
    arrays = [np.load(one) for one in files]
    ends = range(batch, len(arrays[0]) + 1, batch)
    return [{f"input_{number}": rows[end - batch : end] for number, rows in enumerate(arrays)} for end in ends]


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
