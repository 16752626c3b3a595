"""What samples tell of a model: the calls in which activations meet stored weights, and least squares through them."""
