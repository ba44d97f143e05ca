"""Scores of models on data, and the sensitivity of their layers to cuts."""
