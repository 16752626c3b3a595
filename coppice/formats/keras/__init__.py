"""Keras: `.h5` of every dialect and `.keras` in; the same kind in the same dialect out. No Keras, no TensorFlow."""
