"""What both scripts do: the accuracy of a file in its runtime, and its time against another's. Not a module of ours.

    python run_onnx.py FILE IMAGES.npz OTHER

`x` are the images as the model takes them, `y` their classes. Times are of one image on one thread, the two files by
turns; what is printed is JSON. A runtime is a function from a file to a function from images to outputs.
"""

import json
import sys
import time

import numpy as np

BATCH, TURNS = 500, 300


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
