"""Which neurons of a model depend on each other: labels on every axis, and the facts and spaces derived from them."""
