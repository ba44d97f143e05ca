"""The operations on a network. One method here defines an operation completely: see `operation`.

Operations import heavy modules when they run, because `--help` imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

from onnxsurgeon.edit.inits import FRESH, SPLIT, described
from onnxsurgeon.options.parsing import at_least, by_node, flag, positions, text, texts, word_of
from onnxsurgeon.options.shared import Attention
from onnxsurgeon.surgery.operation import OPERATIONS, operation
from onnxsurgeon.surgery.parameters import (
    LAYERS,
    After,
    Align,
    Bias,
    From,
    Groups,
    Grown,
    Importance,
    Kernel,
    Name,
    Seed,
    activations,
    blocks,
    choice,
    choices,
    kernel_size,
    layers,
    made,
    most_new,
    new_widths,
    takes,
)

if TYPE_CHECKING:
    import onnx_ir

    from onnxsurgeon.edit.step import Step
    from onnxsurgeon.surgery.blocks import Block, Separable
    from onnxsurgeon.surgery.network import Node
    from onnxsurgeon.surgery.widths import Resized


__all__ = ["OPERATIONS", "Operations"]
NEURONS = by_node(positions, "fc:0,217,482")
REPLACING = tuple(dict.fromkeys((*FRESH, *SPLIT)))


class Operations:
    """The operations on a network. Each one succeeds, or leaves the network as it was."""

    if TYPE_CHECKING:
        ir: onnx_ir.Model
        steps: list[Step]

        def do(self, steps: Sequence[Step]) -> None: ...
        def __getitem__(self, name: str) -> Node: ...

    @operation(
        "onnxsurgeon resize model.onnx conv3=-16 conv7=+8 -o out.onnx",
        "onnxsurgeon resize model.onnx fc=3 --keep fc:0,217,482",
    )
    def resize(
        self,
        *widths: Annotated[
            str | Mapping[str, Any], takes(new_widths, "Nodes and their new widths.", "NAME=WIDTH", many=True)
        ],
        keep: Annotated[
            Mapping[str, Any] | None,
            takes(NEURONS, "Channels to keep, like fc:0,217,482 or fc:0-9. Repeatable.", "NAME:LIST", many=True),
        ] = None,
        drop: Annotated[
            Mapping[str, Any] | None, takes(NEURONS, "Channels to remove. Repeatable.", "NAME:LIST", many=True)
        ] = None,
        importance: Importance = "l2-norm",
        round_to: Annotated[int, takes(at_least(1), "Round the requested widths to multiples of N.", "N")] = 1,
        max_new: Annotated[
            int | Mapping[str, int] | None,
            takes(
                most_new,
                "Add at most N channels to each axis, or to that of a node. Repeatable.",
                "N|NAME:N",
                many=True,
            ),
        ] = None,
        relax: Annotated[
            bool, takes(flag, "Take the nearest widths if the exact ones are impossible.", kind=bool)
        ] = False,
        init: Grown = "normal",
        attention: Annotated[str, choice(get_args(Attention), "Change the number of heads, or their size.")] = "auto",
        seed: Seed = 0,
    ) -> Resized:
        """Change the widths of layers; layers that must match follow, all others stay.

          conv3=64         exactly 64 channels       conv3=-16   16 fewer    conv3=-25%   a quarter fewer
          conv3~64         as near as possible       conv3=+8    8 more      conv3=free   whatever is most important
          fc.in=512,free   the widths of its inputs
          'layer1.*=-25%'  all layers that match (quote it on the shell)

        All requests hold at once; among the ways to meet them, the most important channels stay. An output of the graph
        changes only if you name it. New channels leave the function unchanged.

        Raises UsageError for unknown nodes and words, InfeasibleError if the widths contradict each other.
        Python also takes a mapping: resize({"conv3": "-25%", "fc": 10}). Returns the widths before and after, and
        which channels were kept. importance may be a mapping of nodes to a number per channel, shape (width,), or a
        function of (node, width) that returns such numbers.
        """
        from onnxsurgeon.edit.growth import Growth
        from onnxsurgeon.surgery.resize import resize

        step, found = resize(
            self.ir, [*map(str, widths)], importance=importance, keep=keep or {}, drop=drop or {}, round_to=round_to,
            max_new=max_new, relax=relax, growth=Growth(init, seed + len(self.steps)), attention=attention, seed=seed,
        )  # fmt: skip
        self.do([step])
        return found

    @operation(
        "onnxsurgeon remove model.onnx layer3.conv2",
        "onnxsurgeon remove model.onnx add4 --through conv7 --align grow",
    )
    def remove(
        self,
        name: Name,
        *,
        through: Annotated[str | None, takes(text, "The input node that takes its place.", "NAME")] = None,
        align: Align = "auto",
        importance: Importance = "l2-norm",
        init: Grown = "normal",
        seed: Seed = 0,
    ) -> None:
        """Remove a node and connect its input to its readers; if their widths differ, make them equal first.

        If only outputs of the graph read the node, they take the width of its input.

        Raises UsageError if the node can't be bypassed, InfeasibleError if the widths can't be made equal.
        """
        from onnxsurgeon.surgery import rewire

        how = choices(align, importance, init, seed)
        self.do(rewire.remove(self.ir, name, through=through, outputs_follow=align == "auto", choices=how))

    @operation(
        "onnxsurgeon insert model.onnx --after conv2 --op Conv --kernel 3 --init identity",
        "onnxsurgeon insert model.onnx --after relu1 --op BatchNorm --for conv2 --name bn2",
        check=made,
    )
    def insert(
        self,
        op: Annotated[str | Block, takes(word_of(layers), f"{LAYERS}.", "OP", keyword=True, objects=True)],
        *,
        after: After,
        kernel: Kernel = None,
        groups: Groups = None,
        bias: Bias = None,
        init: Annotated[str | None, choice(FRESH, f"Initial weights: {described(*FRESH)}.", default="identity")] = None,
        readers: Annotated[
            str | Sequence[str] | None,
            takes(
                texts,
                "Insert only before this reader. Repeatable.",
                "READER",
                many=True,
                declared="--for",
                default="all",
            ),
        ] = None,
        name: Annotated[str | None, takes(text, "The name of the new node.", "NAME")] = None,
        seed: Seed = 0,
    ) -> Node:
        """Insert a new node after another, with the same width.

        Raises UsageError if it does not fit there.
        In Python, op may also be a block like osg.Conv(kernel=5). Returns the new node.
        """
        from onnxsurgeon.surgery.insert import insert

        block = made(op, kernel=kernel, groups=groups, bias=bias, init=init)
        before = {node.name for node in self.ir.graph}
        start = init or "identity"
        self.do(insert(self.ir, after, block, readers=readers, init=start, name=name, seed=seed))  # type: ignore[arg-type]
        return self[[node.name or "" for node in self.ir.graph if node.name not in before][-1]]

    @operation(
        "onnxsurgeon connect model.onnx conv1 add4",
        "onnxsurgeon connect model.onnx conv1 concat2 --position 0",
    )
    def connect(
        self,
        source: From,
        target: Annotated[str, takes(text, "A node that adds or concatenates.", declared="--to")],
        *,
        position: Annotated[
            int | None, takes(at_least(0), "Position among its inputs, from 0.", "N", default="the last")
        ] = None,
        align: Align = "auto",
        importance: Importance = "l2-norm",
        init: Grown = "normal",
        seed: Seed = 0,
    ) -> None:
        """Connect a node to one that adds or concatenates.

        Readers of a longer concatenation get zero weights for its new channels, so the function stays.

        Raises UsageError if the node takes no further input, InfeasibleError if the widths can't be made equal.
        """
        from onnxsurgeon.surgery import rewire

        how = choices(align, importance, init, seed)
        self.do(rewire.connect(self.ir, source, target, position=position, choices=how))

    @operation(
        "onnxsurgeon disconnect model.onnx conv1 concat2",
        "onnxsurgeon disconnect model.onnx conv1 add4 -o out.onnx",
    )
    def disconnect(
        self,
        source: From,
        target: Annotated[str, takes(text, "The node that loses this input.", declared="--to")],
    ) -> None:
        """Remove an input of a node that adds or concatenates, and all nodes that nothing reads then.

        Raises UsageError if the first node does not feed the second, or the second does not add or concatenate.
        """
        from onnxsurgeon.surgery import rewire

        self.do(rewire.disconnect(self.ir, source, target))

    @operation(
        "onnxsurgeon kernel model.onnx conv1 3x3",
        "onnxsurgeon kernel model.onnx conv1 7 -o wide.onnx",
        pairs=True,
    )
    def kernel(
        self,
        name: Annotated[str, takes(text, "A Conv or ConvTranspose.")],
        size: Annotated[int | str | Sequence[int], takes(kernel_size, "The new kernel size, like 3 or 3x5.")],
    ) -> None:
        """Change the kernel size of a convolution, and its padding, so that the output's shape stays.

        New weights are zero, so the function stays. A smaller kernel loses the outer weights with the smaller norm.

        Raises UsageError if the node is not a convolution with constant weights, or has other axes.
        """
        from onnxsurgeon.surgery.kernel import kernel

        self.do(kernel(self.ir, name, size))  # type: ignore[arg-type]

    @operation(
        "onnxsurgeon activation model.onnx relu3 Silu",
        "onnxsurgeon activation model.onnx relu3 HardSwish -o out.onnx",
        pairs=True,
    )
    def activation(
        self,
        name: Annotated[str, takes(text, "The activation to replace.")],
        kind: Annotated[str, takes(word_of(activations), "Relu, Relu6, LeakyRelu, Silu, Gelu, Mish, Tanh, ...")],
    ) -> None:
        """Replace an activation by another one.

        Raises UsageError if the node is not an activation.
        """
        from onnxsurgeon.surgery.insert import activation

        self.do(activation(self.ir, name, kind))

    @operation(
        "onnxsurgeon replace model.onnx pool2 --op AveragePool --kernel 3",
        "onnxsurgeon replace model.onnx conv3 --op Separable",
        check=made,
    )
    def replace(
        self,
        name: Annotated[str, takes(text, "The node to replace.")],
        op: Annotated[
            str | Block | Separable,
            takes(word_of(blocks), f"{LAYERS}; or Separable, for a Conv.", "OP", keyword=True, objects=True),
        ],
        *,
        kernel: Kernel = None,
        groups: Groups = None,
        bias: Bias = None,
        init: Annotated[
            str | None,
            choice(REPLACING, f"Initial weights: {described(*REPLACING)}.", default="he; closest for Separable"),
        ] = None,
        seed: Seed = 0,
    ) -> None:
        """Replace a node by a new one whose output has the same shape.

        Raises UsageError if the node can't be replaced, InfeasibleError if the shapes differ.
        """
        from onnxsurgeon.surgery import insert
        from onnxsurgeon.surgery.blocks import Separable

        block = made(op, kernel=kernel, groups=groups, bias=bias, init=init)
        if isinstance(block, Separable):
            self.do(insert.separate(self.ir, name, init=init or "closest", seed=seed))
        else:
            self.do(insert.replace(self.ir, name, block, init=init or "he", seed=seed))
