"""Where channels can be scaled: tensors, the layers that take the factors and those that take the inverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

EQUALIZED = "_equalized"
"""Ending of a tensor that an inserted multiplication writes."""


@dataclass(frozen=True)
class Site:
    """Tensors whose channels can be scaled by the same factors.

    Attributes:
        tensors: those with a quantizer.
        readers: nodes of the layers whose weights take the factors.
        depthwise: whether each reads one channel for each output; its own weight scale then absorbs the
            factor.
        writers: nodes of the layers whose outputs take the inverse; none: a multiplication is inserted.
        bound: no channel exceeds it, factors or not: a Clip stands between writers and readers.
        rows: channels are the last axis, of rows that linear layers multiply.
        columns: of the linear layer that writes them, one a channel; none: a normalization writes them.
        measured: for each tensor, rows that have its channels as columns, and which ones; none: the tensors.
    """

    tensors: tuple[str, ...]
    readers: tuple[str, ...]
    depthwise: bool
    writers: tuple[str, ...]
    bound: float = float("inf")
    rows: bool = False
    columns: tuple[int, ...] = ()
    measured: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def shown(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """For each tensor one with the same channels, all along one axis, and where they are; none: all."""
        return self.measured or tuple((tensor, ()) for tensor in self.tensors)

    @property
    def quantized(self) -> tuple[str, ...]:
        """The tensors that are quantized once the factors are in place."""
        return self.tensors if self.writers else tuple(t + EQUALIZED for t in self.tensors)


def site_of(
    tensors: tuple[str, ...], readers: list[ir.Node], writers: list[ir.Node], bound: float
) -> Site | None:
    """The site of tensors, or None where layers of one kind alone do not read them.

    Args:
        tensors: as :class:`Site` has them.
        readers: the same.
        writers: the same.
        bound: the same.
    """
    depthwise = {node.op_type == "Conv" and node.attributes.get_int("group", 1) > 1 for node in readers}
    if not tensors or len(depthwise) != 1:
        return None
    names = tuple(dict.fromkeys(node.name or "" for node in readers))
    return Site(tensors, names, depthwise.pop(), tuple(node.name or "" for node in writers), bound)
