"""The documents' two models cut, repaired and quantized: what they weigh then, and what they still know."""
