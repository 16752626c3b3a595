"""The parts of bench/quantization.py."""
