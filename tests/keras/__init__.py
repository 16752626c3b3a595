"""Keras without Keras: the interpreter, the file formats, and what real files have taught."""
