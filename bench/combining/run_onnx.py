"""A script, not a module of ours: the accuracy of an ONNX file in ONNX Runtime, and its time against another's.

    python run_onnx.py FILE IMAGES.npz OTHER

`x` are the images as the model takes them, `y` their classes. Times are of one image on one thread, the two files by
turns; what is printed is JSON.
"""

import json
import sys
import time

import numpy as np
import onnxruntime

BATCH, TURNS = 500, 300


def opened(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def accuracy(run, x, y):
    right = sum(int((run(x[i : i + BATCH]).argmax(1) == y[i : i + BATCH]).sum()) for i in range(0, len(x), BATCH))
    return right / len(x)


def seconds(runs, one):
    """The median time of each, by turns."""
    taken = [[] for _ in runs]
    for turn in range(TURNS):
        for run, times in zip(runs, taken, strict=True):
            start = time.perf_counter()
            run(one)
            if turn >= TURNS // 10:  # the first ones warm up
                times.append(time.perf_counter() - start)
    return [float(np.median(times)) for times in taken]


def main(opened):
    file, images, other = sys.argv[1:]
    with np.load(images) as arrays:
        x, y = arrays["x"], arrays["y"]
    run, against = opened(file), opened(other)
    own, others = seconds([run, against], x[:1])
    print(json.dumps({"accuracy": accuracy(run, x, y), "milliseconds": 1e3 * own, "against": 1e3 * others}))


if __name__ == "__main__":
    main(opened)
