"""Neurons, the relations between them, and selections: which neurons an edit keeps or adds."""
