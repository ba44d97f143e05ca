"""Which neurons of a model depend on each other: the labels on every axis, and what follows from them."""
