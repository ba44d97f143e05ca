"""Applies selections of neurons to models: cutting and growing."""
