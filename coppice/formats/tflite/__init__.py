"""TensorFlow Lite: Keras models in 16, 8 and 4 bits, made and run by TensorFlow and LiteRT of an environment apart."""
