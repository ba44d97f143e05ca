"""The operations on a network that take in a part of another one, or take one out. See `methods`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import file, text, texts
from onnxsurgeon.surgery.methods import Operations
from onnxsurgeon.surgery.operation import OPERATIONS, operation
from onnxsurgeon.surgery.parameters import After, Align, Grown, Importance, Seed, choices, takes

if TYPE_CHECKING:
    from onnxsurgeon.model.model import Source


__all__ = ["OPERATIONS", "AllOperations"]


def some_end(begins: object = (), ends: object = ()) -> None:
    """Raises UsageError if neither end of a part is named."""
    if not begins and not ends:
        raise UsageError("nothing says where the part begins or ends", fix="name it with `begins` or `ends`, or both")


class AllOperations(Operations):
    """All operations on a network."""

    @operation(
        "onnxsurgeon splice model.onnx other.onnx --after relu3",
        "onnxsurgeon splice model.onnx other.onnx --after relu3 --entry x --exit conv2_out --align shrink",
    )
    def splice(
        self,
        other: Annotated[
            Source, takes(file, "The model with the sub-graph.", "OTHER", declared="--file", objects=True)
        ],
        *,
        after: After,
        entry: Annotated[
            str | None, takes(text, "The value or node where it begins.", "VALUE", default="its only input")
        ] = None,
        exit: Annotated[
            str | None, takes(text, "The value or node where it ends.", "VALUE", default="its only output")
        ] = None,
        prefix: Annotated[str, takes(text, "Prefix for the names of its nodes.", "TEXT")] = "spliced.",
        align: Align = "auto",
        importance: Importance = "l2-norm",
        init: Grown = "normal",
        seed: Seed = 0,
    ) -> None:
        """Insert a sub-graph of another model between a node and its readers.

        Raises UsageError if it does not fit there, InfeasibleError if the widths can't be made equal.
        In Python, other is a path, an onnx.ModelProto or a model of onnxsurgeon.
        """
        from onnxsurgeon.model.model import as_model
        from onnxsurgeon.surgery.splice import splice

        how, guest = choices(align, importance, init, seed), as_model(other).ir
        self.do(splice(self.ir, guest, after=after, entry=entry, exit=exit, prefix=prefix, choices=how))

    @operation(
        "onnxsurgeon extract model.onnx --to layer2.0.relu -o backbone.onnx",
        "onnxsurgeon extract model.onnx --from relu1 --to conv3 --to skip",
        check=some_end,
    )
    def extract(
        self,
        *,
        begins: Annotated[
            str | Sequence[str],
            takes(
                texts,
                "A value, or a node for its result, that becomes an input. Repeatable.",
                "NAME",
                many=True,
                declared="--from",
                default="its inputs",
            ),
        ] = (),
        ends: Annotated[
            str | Sequence[str],
            takes(
                texts,
                "A value, or a node for its result, that becomes an output. Repeatable.",
                "NAME",
                many=True,
                declared="--to",
                default="its outputs",
            ),
        ] = (),
    ) -> None:
        """Take a part of the network out: what computes some values from some others.

        What --from names is not part of it, what --to names is. The new inputs and outputs keep the names of the
        values.

        Raises UsageError if a name is unknown, or the part needs another input.
        """
        from onnxsurgeon.surgery.extract import extract

        some_end(begins, ends)
        self.do(extract(self.ir, texts(begins, "`begins`"), texts(ends, "`ends`")))

    @operation("onnxsurgeon fuse model.onnx", "onnxsurgeon fuse model.onnx -o fused.onnx")
    def fuse(self) -> None:
        """Fold normalisations into the layers before them, and compute constants now: the function stays.

        A BatchNormalization joins the Conv, ConvTranspose or Gemm whose output only it reads. What depends on weights
        and static shapes alone is computed, unless that would make the file larger. Quantised weights stay.

        Raises InfeasibleError if the shapes would not fit.
        """
        from onnxsurgeon.surgery.fuse import fuse

        self.do(fuse(self.ir))
