"""Targets by name: what runs the exported network, and what it expects of it.

A new target is one file here with a :class:`Target`, and its name in ``TARGETS``.
"""

from __future__ import annotations

from dataclasses import replace

from distq.errors import UsageError
from distq.instructions import has_exact_integer_kernels
from distq.targets.openvino import OPENVINO
from distq.targets.ort import ORT
from distq.targets.target import Target, WeightBits, WeightRoom
from distq.targets.tensorrt import TENSORRT

TARGETS: dict[str, Target] = {target.name: target for target in (ORT, OPENVINO, TENSORRT)}
"""By the name that ``--target`` takes."""

_ROOM: dict[WeightBits, WeightRoom] = {"pairs": "pairs", "7": "half", "8": "all"}


def find_target(name: str, weight_bits: WeightBits = "auto") -> Target:
    """The target of a name.

    Args:
        name: as ``--target`` takes it.
        weight_bits: of its weights; ``auto``: ``pairs`` where the target's kernels would saturate on this
            processor (docs/decisions/room-for-pairs-of-weights.md), else 8.

    Raises:
        UsageError: there is none, naming those there are.
    """
    if name not in TARGETS:
        raise UsageError(f"there is no target {name}: choose one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    if weight_bits == "auto":
        narrow = target.saturates and not has_exact_integer_kernels()
        return replace(target, weight_room="pairs" if narrow else "all")
    return replace(target, weight_room=_ROOM[weight_bits])
