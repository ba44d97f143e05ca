"""Statistics of a model's linear layers on calibration data, and least squares on it."""
