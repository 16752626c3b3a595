"""The words of the pipeline's arrow, one file each. A step takes values and returns new ones."""
