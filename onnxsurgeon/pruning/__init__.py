"""Pruning from end to end."""
