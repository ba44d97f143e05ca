"""Operators that edits of structure tell apart: which join, which take any number of inputs, which have kernels."""

from __future__ import annotations

STACKS = frozenset({"Concat"})  # its inputs lie behind each other
SUM = "Sum"  # what an addition of more than two becomes
VARIADIC = frozenset({SUM, "Max", "Min", "Mean"})  # take any number of equal inputs
SUMS = frozenset({"Add", SUM})
JOINTS = SUMS | VARIADIC
CONVOLUTIONS = frozenset({"Conv"})
TRANSPOSED = frozenset({"ConvTranspose"})
ACTIVATIONS = frozenset(
    """
    Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid Tanh Softplus Softsign HardSigmoid HardSwish Swish Mish Gelu
    ThresholdedRelu Identity
    """.split()
)
