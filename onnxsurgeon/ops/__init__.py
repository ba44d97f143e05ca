"""All that is known of operators: one record each, in one table, in the file of its family.

To add an operator, write in the file of its family (or a new one, imported below)

    add("Name", Operator(rule, silence=..., macs=..., ...), domain="")

where `rule` says which neurons of its inputs and outputs are the same: most are `signature("n c *, c -> n c *")`. All
other fields of `Operator` (see `registry`) are optional; what they need are functions right above the record. Then
give `tests/support/law_cases.py` (`microsoft_cases.py`) a case, and name the operator in `tests/ops/test_law.py`: the
law (cutting commutes with the operator) tests the rule, and `tests/ops/test_gradients.py` the gradient, if there is
one.

- An operator of one tensor, element by element, is `add("Name", UNARY)`; of several, `NARY` (`elementwise`).
- An activation is `add("Name", replace(ACTIVATION, gradient=slope(derivative), bounds=...))` (`activations`).
- An operator with a weight gives `macs`, `silence="data"`, `neutral` for its bias, and `linear` where a weight can be
  fitted in closed form.
- Attributes or inputs that hold sizes need `resize`.
- One that onnx has no schema for needs `shape`.

What is not registered is frozen, and reported.
"""

from onnxsurgeon.ops import (  # noqa: F401 - each registers its operators
    activations,
    attention,
    control_flow,
    convolution,
    elementwise,
    expansion,
    fused_attention,
    indexing,
    joining,
    normalisation,
    pooling,
    products,
    quantised,
    recurrent,
    reduction,
    reshaping,
    sizes,
    whole,
)
from onnxsurgeon.ops.call import Call, Tensor
from onnxsurgeon.ops.registry import MICROSOFT, OPERATORS, Operator

__all__ = ["MICROSOFT", "OPERATORS", "Call", "Operator", "Tensor"]
