"""A script, not a module of ours: `running` with `.tflite` files in ai-edge-litert."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from running import main


def opened(file):
    interpreter = Interpreter(file, num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def one(row):
        interpreter.set_tensor(entry, row)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return lambda x: np.concatenate([one(row[None]) for row in x])


if __name__ == "__main__":
    main(opened)
