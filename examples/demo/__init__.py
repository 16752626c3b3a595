"""`make demo`: the two models of the documents through the real service, and back into their frameworks."""
