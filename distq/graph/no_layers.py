"""Why a network has no layer that INT8 can carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from distq.errors import one_of
from distq.graph.layers import compute_layer
from distq.graph.values import subgraphs
from distq.targets.operators import LAYERS

if TYPE_CHECKING:
    import onnx_ir as ir

_WITH_WEIGHTS = "export it in float32 with constant weights"

_AS_THEY_ARE = frozenset({"ConvTranspose has groups", "MatMul has its constant on the left"})
"""Reasons that no other export changes."""


def why_no_layers(graph: ir.Graph, carried: AbstractSet[str]) -> str:
    """One line: what its layers lack, or where they are, or that there are none; and the remedy.

    Args:
        graph: of the network.
        carried: compute operators that the target carries.
    """
    found = (compute_layer(node, carried) for node in graph)
    counts = Counter(why for why in found if isinstance(why, str))
    if counts:
        told = ", ".join(f"{why} ({count})" for why, count in counts.most_common(3))
        remedy = "keep it as it is" if counts.keys() <= _AS_THEY_ARE else _WITH_WEIGHTS
        return f"the model has no layer for INT8: {told}; {remedy}"
    holders = sorted({node.op_type for node in graph for inner in subgraphs(node) if _computes(inner)})
    if holders:
        return (
            f"all layers of the model are inside {' and '.join(holders)}, where they stay in float: "
            + _remedy(holders)
        )
    if any(node.domain == "com.microsoft.nchwc" for node in graph):
        return (
            "the convolutions of the model have the layout of one processor (com.microsoft.nchwc): give the "
            "file it was made from, or save it with fewer optimizations of ONNX Runtime (ORT_ENABLE_BASIC)"
        )
    return f"the model has no {one_of(sorted(carried))}, so nothing to quantize: keep it as it is"


def _remedy(holders: Sequence[str]) -> str:
    if holders == ["If"]:
        return (
            "decide which is taken by --input-value NAME=VALUE, or export that branch as a model of its own"
        )
    return "export it unrolled"


def _computes(graph: ir.Graph) -> bool:
    own = any(node.op_type in LAYERS and not node.domain for node in graph)
    return own or any(_computes(inner) for node in graph for inner in subgraphs(node))
