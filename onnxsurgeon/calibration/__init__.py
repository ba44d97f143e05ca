"""What a model sees on calibration data, and least squares on it."""
