"""Packed safetensors: weights of few bits without a gap, and the short loaders that make floats of them again."""
