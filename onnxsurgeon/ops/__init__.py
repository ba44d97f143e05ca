"""All that is known of operators: one record each, in one table. Each file holds a family of operators.

To add an operator, write in the file of its family (a new file is imported below)

    add("Name", rule, silence="data", macs=..., neutral={2: 0.0}, ...)

`rule` says which neurons of the inputs and outputs are the same; `signature("n c *, c -> n c *")` makes most rules. All
else is optional: the fields of `Operator` in `registry` say what there is. `add("Name", RECORD, gradient=...)` takes
another record as it is but for what is given. What a record needs are functions in the same file.

- One tensor, element by element: `add("Name", UNARY)`. Several that broadcast: `add("Name", NARY)`.
- An activation: `add("Name", ACTIVATION, gradient=derivative(...), bounds=...)`. Edits, the command line and the
  distillation then know it.
- A layer with a weight: `macs`, `silence="data"`, `neutral` for its bias, and `linear` for a fit in closed form.
- Attributes or inputs that hold sizes, heads or groups: `resize`.
- No schema in onnx: `shape`.

Then give it a case in `tests/support/law_cases.py` (or `microsoft_cases.py`) unless the onnx package ships one: the law
in `tests/ops/test_law.py` checks the rule on it, and the one in `tests/ops/test_gradient_law.py` its gradient, or asks
for the reason why it has none. An operator without a record is frozen and reported.
"""

from onnxsurgeon.ops import (  # noqa: F401 - each registers its operators
    activations,
    attention,
    classic,
    constants,
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
    sequences,
    whole,
)
from onnxsurgeon.ops.call import Call, Tensor
from onnxsurgeon.ops.registry import MICROSOFT, OPERATORS, Operator

__all__ = ["MICROSOFT", "OPERATORS", "Call", "Operator", "Tensor"]
