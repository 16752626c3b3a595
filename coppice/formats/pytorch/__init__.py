"""PyTorch: state dict, class file and sample DataLoader in; pickled pair, state dict, class file and ONNX out."""
