"""SavedModel folders, zipped: read and edited without TensorFlow."""
