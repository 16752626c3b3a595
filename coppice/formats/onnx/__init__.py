"""ONNX: `.onnx` in and out, opset 7 to the newest that the onnx package knows."""
