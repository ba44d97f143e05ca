"""How much each neuron matters, by several criteria."""
