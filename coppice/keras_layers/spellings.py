"""How each dialect spells an operation and its arguments: names on the left, meanings of `meanings.py` on the right."""

from __future__ import annotations

from coppice.keras_layers.meanings import MEANINGS

#: TensorFlow's and Keras' names for one argument.
ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(("x1", "features", "logits", "input_tensor", "tensor", "input", "inputs", "t", "a"), "x"),
    **dict.fromkeys(("images", "image", "value", "params", "data"), "x"),
    **dict.fromkeys(("x2", "b"), "y"),
    **dict.fromkeys(("values", "tensors", "arrays"), "xs"),
    **dict.fromkeys(("clip_value_min", "x_min"), "low"),
    **dict.fromkeys(("clip_value_max", "x_max"), "high"),
    **dict.fromkeys(("keep_dims",), "keepdims"),
    **dict.fromkeys(("dim", "concat_dim", "axis_dim"), "axis"),
    **dict.fromkeys(("perm",), "axes"),
    **dict.fromkeys(("newshape", "new_shape"), "shape"),
    **dict.fromkeys(("multiples",), "repeats"),
    **dict.fromkeys(("paddings", "pad_width"), "amounts"),
    **dict.fromkeys(("constant_values",), "value"),
    **dict.fromkeys(("num_or_size_splits",), "parts"),
    **dict.fromkeys(("indices_or_sections",), "bounds"),
    **dict.fromkeys(("negative_slope", "alpha"), "slope"),
    **dict.fromkeys(("subscripts",), "equation"),
    **dict.fromkeys(("num_classes", "depth"), "classes"),
    **dict.fromkeys(("block_size",), "block"),
    **dict.fromkeys(("transpose_a", "adjoint_a"), "transpose_x"),
    **dict.fromkeys(("transpose_b", "adjoint_b"), "transpose_y"),
}

#: Where a name means something else.
ARGUMENTS_OF: dict[str, dict[str, str]] = {
    "elu": {"alpha": "alpha"},
    "pad": {"constant_values": "value"},
    "take": {"indices": "indices"},
    "one_hot": {"indices": "x"},
    "where": {"condition": "condition", "x1": "x", "x2": "y"},
}

#: Arguments that only name the node, ask for a width of floating point, or restate a default.
IGNORED = frozenset(
    {"name", "training", "mask", "dtype", "out_type", "trainable", "conjugate", "batch_dims", "sparse", "order"}
)

TENSORFLOW_FUNCTIONS: dict[str, str] = {
    **{
        f"{module}{name}": meaning
        for module in ("", "math.", "__operators__.", "compat.v1.", "compat.v1.math.")
        for name, meaning in {
            "add": "add",
            "subtract": "subtract",
            "multiply": "multiply",
            "divide": "divide",
            "truediv": "divide",
            "floordiv": "floor_divide",
            "pow": "power",
            "squared_difference": "squared_difference",
            "equal": "equal",
            "not_equal": "not_equal",
            "greater": "greater",
            "greater_equal": "greater_equal",
            "less": "less",
            "less_equal": "less_equal",
            "logical_and": "logical_and",
            "logical_or": "logical_or",
            "logical_not": "logical_not",
            "maximum": "maximum",
            "minimum": "minimum",
            "reduce_mean": "mean",
            "reduce_sum": "sum",
            "reduce_max": "max",
            "reduce_min": "min",
            "reduce_prod": "prod",
            "reduce_any": "any",
            "reduce_all": "all",
            "reduce_variance": "variance",
            "reduce_std": "deviation",
            "reduce_logsumexp": "logsumexp",
            "argmax": "argmax",
            "negative": "negative",
            "abs": "absolute",
            "sign": "sign",
            "square": "square",
            "sqrt": "sqrt",
            "rsqrt": "rsqrt",
            "reciprocal": "reciprocal",
            "exp": "exp",
            "log": "log",
            "log1p": "log1p",
            "sin": "sin",
            "cos": "cos",
            "floor": "floor",
            "ceil": "ceil",
            "round": "round",
            "erf": "erf",
            "sigmoid": "sigmoid",
            "tanh": "tanh",
            "softplus": "softplus",
            "l2_normalize": "unit_length",
            "concat": "concatenate",
            "stack": "stack",
            "split": "split",
            "unstack": "unstack",
            "transpose": "transpose",
            "transpose_v2": "transpose",
            "expand_dims": "expand_dims",
            "squeeze": "squeeze",
            "tile": "tile",
            "repeat": "repeat",
            "reverse": "flip",
            "pad": "pad",
            "cast": "cast",
            "where": "where",
            "one_hot": "one_hot",
            "gather": "take",
            "clip_by_value": "clip",
            "matmul": "matmul",
            "einsum": "einsum",
            "reshape": "reshape",
            "identity": "identity",
            "shape": "shape",
            "zeros_like": "zeros_like",
            "ones_like": "ones_like",
            "depth_to_space": "depth_to_space",
            "space_to_depth": "space_to_depth",
        }.items()
    },
    **{
        f"nn.{name}": meaning
        for name, meaning in {
            "relu": "relu",
            "relu6": "relu6",
            "leaky_relu": "leaky_relu",
            "sigmoid": "sigmoid",
            "tanh": "tanh",
            "silu": "silu",
            "swish": "silu",
            "gelu": "gelu",
            "elu": "elu",
            "selu": "selu",
            "softplus": "softplus",
            "softsign": "softsign",
            "softmax": "softmax",
            "softmax_v2": "softmax",
            "log_softmax": "log_softmax",
            "l2_normalize": "unit_length",
            "depth_to_space": "depth_to_space",
            "space_to_depth": "space_to_depth",
            "bias_add": "add",
        }.items()
    },
    "linalg.matmul": "matmul",
    "linalg.l2_normalize": "unit_length",
    "linalg.einsum": "einsum",
    "image.resize": "resize",
    "compat.v1.gather": "take",
    "compat.v1.nn.depth_to_space": "depth_to_space",
    "compat.v1.nn.space_to_depth": "space_to_depth",
    # Keras' own backend, which writes itself as a function too.
    **{f"keras.backend.{name}": name for name in ("relu", "softmax", "square", "sqrt", "exp", "clip", "mean", "sum")},
}


def _camel_case(meaning: str) -> str:
    return "".join(word.capitalize() for word in meaning.split("_"))


#: Keras 3 calls most operations by the meaning itself, in another case.
KERAS_3_OPERATIONS: dict[str, str] = {
    **{_camel_case(meaning): meaning for meaning in MEANINGS},
    "TrueDivide": "divide",
    "Var": "variance",
    "Std": "deviation",
    "Normalize": "unit_length",
    "Swapaxes": "swap_axes",
    "Abs": "absolute",
    "HardSilu": "hard_silu",
    "HardSwish": "hard_silu",
}
