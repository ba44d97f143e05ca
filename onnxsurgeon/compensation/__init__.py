"""Refits the weights that remain after a cut, so that the outputs stay close to the original's."""
