"""What a parameter of a new neuron is for the operator to leave the others' function alone, or to change nothing.

By operator and input; what is not here takes the value of the neuron that the new one follows.
"""

from __future__ import annotations

_FAMILIES: tuple[tuple[str, dict[int, float]], ...] = (
    ("Conv ConvTranspose Gemm QLinearConv FusedConv FusedGemm DeformConv NhwcConv Attention", {2: 0.0}),
    ("LSTM GRU RNN", {3: 0.0, 7: 0.0}),
    ("Add Sub Sum BiasGelu FastGelu", {0: 0.0, 1: 0.0}),
    ("Mul Div Pow", {0: 1.0, 1: 1.0}),
    ("InstanceNormalization GroupNormalization LayerNormalization", {1: 1.0, 2: 0.0}),
    ("RMSNormalization SimplifiedLayerNormalization", {1: 1.0}),
    ("BatchNormalization", {1: 1.0, 2: 0.0, 3: 0.0, 4: 1.0}),
    ("SkipLayerNormalization", {2: 1.0, 3: 0.0, 4: 0.0}),
    ("SkipSimplifiedLayerNormalization", {2: 1.0, 3: 0.0}),
    ("MultiHeadAttention", {3: 0.0}),
)
NEUTRAL = {operator: values for names, values in _FAMILIES for operator in names.split()}
