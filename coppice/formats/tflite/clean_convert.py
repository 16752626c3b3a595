"""A script, not a module of ours: load a Keras file with the Keras that it is of, and convert it to `.tflite`.

Run by `clean_process` in the environment of LiteRT, where TensorFlow is; the paths of job and verdict come on standard
input. The verdict is a failure in words, with its kind, or the number of samples that the file takes at a time.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# Read by TensorFlow while it is imported. Its threads would only wait for each other on one core.
os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    "TF_USE_LEGACY_KERAS": "0",
}

#: What the converter says of an operator that it has nothing for: `error: 'tf.Erfinv' op is neither a custom op ...`.
_LACKING = re.compile(r"'(tf\.\w+)' op is neither a custom op nor a flex op")


class Failed(Exception):
    """Why there is no file, with the kind of failure."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def main(job_file: str, verdict_file: str) -> None:
    """Convert the one model of the job."""
    job = json.loads(Path(job_file).read_text())
    try:
        verdict: dict[str, Any] = {"batch": converted(job)}
    except Failed as e:
        verdict = {"kind": e.kind, "failure": str(e)}
    Path(verdict_file).write_text(json.dumps(verdict))


def converted(job: dict[str, Any]) -> int:
    """Write the files of the job: in floats, and in half precision where that is asked for."""
    os.environ["KERAS_HOME"] = job["folder"]  # Keras would make a folder in the user's home
    import tensorflow as tf

    keras = keras_of(job["generation"])
    try:
        model = keras.models.load_model(job["model"], compile=False)
    except Exception as e:  # whatever Keras says
        raise Failed("load", f"Keras {keras.__version__} does not load the model: {last_line(e)}") from e
    batch = model.inputs[0].shape[0] or 1
    shapes = [[batch, *shape[1:]] for shape in job["shapes"]]
    specs = [
        tf.TensorSpec(shape, tf.as_dtype(entry.dtype), name=f"input_{number}")
        for number, (shape, entry) in enumerate(zip(shapes, model.inputs, strict=True))
    ]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]  # TensorFlow is not here
    def serve(*inputs: Any) -> dict[str, Any]:
        outputs = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        return {f"output_{number}": output for number, output in enumerate(tf.nest.flatten(outputs))}

    holder = tf.Module()
    # Keras 3 keeps its variables in wrappers, in which a tf.Module finds none: they would not be frozen.
    holder.held = [one if isinstance(one, tf.Variable) else one.value for one in model.variables]
    holder.serve = serve
    folder = job["folder"]
    try:
        tf.saved_model.save(holder, folder, signatures={"serving_default": serve.get_concrete_function()})
        Path(job["floats"]).write_bytes(written(tf, folder))
        if job["halves"]:
            Path(job["halves"]).write_bytes(written(tf, folder, halves=True))
    except Exception as e:
        lacking = sorted(set(_LACKING.findall(str(e))))
        if lacking:
            raise Failed("operator", f"TensorFlow Lite has no operator for {', '.join(lacking)}") from e
        raise Failed("operator", f"TensorFlow {tf.__version__} does not convert the model: {last_line(e)}") from e
    return int(batch)


def keras_of(generation: str) -> Any:
    """The Keras that reads this generation of files."""
    if generation == "2":
        import tf_keras

        return tf_keras
    import keras

    return keras


def written(tf: Any, folder: str, *, halves: bool = False) -> bytes:
    """The SavedModel of a folder as TensorFlow Lite."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    if halves:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    made: bytes = converter.convert()
    return made


def last_line(error: BaseException) -> str:
    """What was raised, without the frames that TensorFlow quotes in its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "File " not in line]
    return f"{type(error).__name__}: {(lines or [''])[0][:300].rstrip('.')}"


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
