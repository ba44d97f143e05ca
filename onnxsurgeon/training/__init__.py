"""Training of models in onnxruntime: forward, loss, backward and the optimiser's step are one ONNX graph.

`trainer` takes steps and hides the rest; `step_graph` builds the graph: `differentiate` the backward pass, `losses`
what is minimised, `optimisers` how weights move, `flat_vector` all weights as one tensor.
"""
