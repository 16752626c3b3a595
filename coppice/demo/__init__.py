"""A small network and its training, for whoever has no model at hand: `coppice demo` copies the two files beside this.

Nothing here imports them: they belong to the reader from then on.
"""
