"""Exported networks of which numbers alone differ: their nodes are written and checked once.

The correction of a network changes integers and biases, and a search its scales. Nodes and names are then
those of the network before, and take longer to write than all numbers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from distq.graph.names import Constants
from distq.graph.plan import Plan

KEPT = 4
"""Structures of a model that are kept: networks are corrected some together."""

Layout = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Type and shape of each number: with another type or shape other nodes may be written."""


@dataclass(frozen=True)
class _Structure:
    """An exported network without its numbers.

    Attributes:
        plan: that it follows.
        layout: of its numbers.
        proto: all but the values of these numbers.
    """

    plan: Plan
    layout: Layout
    proto: onnx.ModelProto


class Structures:
    """The last few structures of each model that is still in use; threads may share them."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[ir.Model, deque[_Structure]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def exported(
        self, model: ir.Model, plan: Plan, numbers: Constants, write: Callable[[], onnx.ModelProto]
    ) -> bytes:
        """The bytes of a network, the same whether its structure was known or not.

        Args:
            model: the float network, which nobody changes.
            plan: where quantizers stand.
            numbers: of quantizers, weights and biases.
            write: makes the network with these numbers.
        """
        layout = {name: (array.dtype, array.shape) for name, array in numbers.items()}
        with self._lock:
            for known in self._kept.get(model, ()):
                if known.layout == layout and known.plan == plan:
                    return _filled(known.proto, numbers)
        proto = write()
        data = bytes(proto.SerializeToString(deterministic=True))
        if not any(map(uses_external_data, proto.graph.initializer)):
            _empty(proto, numbers)
            with self._lock:
                own = self._kept.setdefault(model, deque(maxlen=KEPT))
                own.append(_Structure(plan, layout, proto))
        return data


def _filled(proto: onnx.ModelProto, numbers: Constants) -> bytes:
    for tensor in proto.graph.initializer:
        if tensor.name in numbers:
            tensor.raw_data = numbers[tensor.name].tobytes()
    data = bytes(proto.SerializeToString(deterministic=True))
    _empty(proto, numbers)
    return data


def _empty(proto: onnx.ModelProto, numbers: Constants) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name in numbers:
            tensor.raw_data = b""
