"""Neurons, how they relate, and which of them an edit keeps or adds."""
