"""Whether ``--cache-memory`` has room for what a worker keeps of one sample at least."""

from __future__ import annotations

import math

import onnx_ir as ir

_MIB = 1 << 20


def too_small(cache_memory: int | None, model: ir.Model) -> str | None:
    """What to say where the largest tensor does not fit; None where it does, or nothing was given.

    Args:
        cache_memory: the option, in MiB.
        model: with shapes; a dimension that it leaves open counts as 1.
    """
    if cache_memory is None:
        return None
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    size, name = max(((_bytes(value), value.name or "") for value in values), default=(0, ""))
    if size < cache_memory * _MIB:
        return None
    return (
        f"--cache-memory {cache_memory}: the largest tensor, {name}, has {size / _MIB:.1f} MiB for each "
        f"sample, so what lies near it is computed again and again: give {size // _MIB + 1} or more"
    )


def _bytes(value: ir.Value) -> int:
    if value.shape is None or value.dtype is None:
        return 0
    sizes = [size if isinstance(size, int) else 1 for size in value.shape]
    return math.ceil(math.prod(sizes) * value.dtype.itemsize)
