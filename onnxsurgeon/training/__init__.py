"""Training of models in onnxruntime: forward, loss, backward and the optimiser's step are one ONNX graph.

`train` is what users call: `options` are its options, `task` checks them against model and data, `trained` is the
result. `trainer` takes steps and hides the engine: `step_graph` builds the graph of a step, `differentiate` its
backward pass, `flat_vector` makes all weights one tensor. Records: `losses`, `optimisers`, `schedules`,
`augmentations`. What is trained: `trainable`, `unfolding`; on what: `training_set`, `targets`, `batch_size`.
`contributions` says what channels are worth to a loss, from gradients of a pass (`loss_gradient`) or of a training
(`collecting`).
"""
