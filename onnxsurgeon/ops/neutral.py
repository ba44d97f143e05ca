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

# Operators whose output is proportional to their first input, where the others are constants.
PROPORTIONAL = frozenset(
    "Reshape Flatten Squeeze Unsqueeze Transpose Identity Cast Slice Split DequantizeLinear".split()
)
# Of quantised weights, the input that says what counts as zero, by operator and input.
_POINTS: tuple[tuple[str, dict[int, int]], ...] = (
    ("DequantizeLinear", {0: 2}),
    ("ConvInteger MatMulInteger", {1: 3}),
    ("QLinearConv QLinearMatMul QGemm", {3: 5}),
    ("MatMulIntegerToFloat", {1: 5}),
    ("QAttention", {1: 7}),
)
ZERO_POINTS = {operator: points for names, points in _POINTS for operator in names.split()}
