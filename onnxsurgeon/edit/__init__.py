"""Applying a selection of neurons to a model: cutting and growing."""
