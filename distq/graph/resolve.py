"""What a user calls a layer: its output tensor, or its node."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import onnx_ir as ir

from distq.errors import UsageError
from distq.graph.equalize import EQUALIZED
from distq.graph.plan import Plan
from distq.targets.operators import PASS_THROUGH


def resolve_names(model: ir.Model, plan: Plan, names: Iterable[str], option: str) -> tuple[str, ...]:
    """Quantizer names for layer names as users write them: a tensor, a node, or a layer's output.

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    known = {tensor: q.name for q in plan.quantizers for tensor in q.tensors}
    reach = dict(known)
    for node in reversed(list(model.graph)):
        outputs = [v.name or "" for v in node.outputs]
        hit = next((reach[o] for o in outputs if o in reach), None)
        if hit is None:
            continue
        reach.setdefault(node.name or "", hit)
        passes = node.op_type in PASS_THROUGH | {"Relu", "Clip"} or (node.name or "").endswith(EQUALIZED)
        if passes and node.inputs[0] is not None:
            reach.setdefault(node.inputs[0].name or "", hit)
    found = []
    for name in names:
        if name not in reach:
            near = difflib.get_close_matches(name, reach, n=1, cutoff=0.0)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise UsageError(f"{option} names {name}, which is no quantized layer of the model{hint}")
        found.append(reach[name])
    return tuple(dict.fromkeys(found))


def resolve_layers(plan: Plan, names: Iterable[str], option: str) -> tuple[str, ...]:
    """Names of compute layers for what a user calls them: an output tensor, or a node.

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    known = {name: layer.name for layer in plan.layers for name in (layer.node, layer.output, layer.name)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise UsageError(
                f"{option} names {name}, which is no compute layer of the model; the nearest is {near}"
            )
    return tuple(dict.fromkeys(known[name] for name in names))
