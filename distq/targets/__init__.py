"""Targets by name: what runs the exported network, and what it expects of it.

A new target is one file here with a :class:`Target`, and its name in ``TARGETS``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from distq.errors import UsageError
from distq.instructions import has_exact_integer_kernels
from distq.targets.openvino import OPENVINO
from distq.targets.ort import ORT
from distq.targets.target import Target, WeightType
from distq.targets.tensorrt import TENSORRT

TARGETS: dict[str, Target] = {target.name: target for target in (ORT, OPENVINO, TENSORRT)}
"""By the name that ``--target`` takes."""


def find_target(name: str, weight_type: WeightType | Literal["auto"] = "auto") -> Target:
    """The target of a name.

    Args:
        name: as ``--target`` takes it.
        weight_type: what its weights are stored as; ``auto``: uint8 where the target takes that and kernels
            of this processor would saturate on int8, else int8 (docs/decisions/weights-as-uint8.md).

    Raises:
        UsageError: there is none, naming those there are, or it does not take such weights.
    """
    if name not in TARGETS:
        raise UsageError(f"there is no target {name}: choose one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    if weight_type == "auto":
        saturates = "uint8" in target.weight_types and not has_exact_integer_kernels()
        weight_type = "uint8" if saturates else "int8"
    if weight_type not in target.weight_types:
        raise UsageError(f"--target {name} takes int8 weights alone: leave out --weight-type {weight_type}")
    return replace(target, weight_type=weight_type)
