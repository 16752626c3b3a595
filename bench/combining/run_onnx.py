"""A script, not a module of ours: `running` with ONNX files in ONNX Runtime."""

import onnxruntime
from running import main


def opened(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


if __name__ == "__main__":
    main(opened)
