"""What a cut leaves of a trained network's accuracy: nets, data, engines, curves and their table."""
