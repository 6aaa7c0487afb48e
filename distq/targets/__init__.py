"""Targets by name: what runs the exported network, and what it expects of it.

A new target is one file here with a :class:`Target`, and its name in ``TARGETS``.
"""

from __future__ import annotations

from distq.errors import UsageError
from distq.targets.openvino import OPENVINO
from distq.targets.ort import ORT
from distq.targets.target import Target
from distq.targets.tensorrt import TENSORRT

TARGETS: dict[str, Target] = {target.name: target for target in (ORT, OPENVINO, TENSORRT)}
"""By the name that ``--target`` takes."""


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: there is none, naming those there are.
    """
    if name not in TARGETS:
        raise UsageError(f"there is no target {name}: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]
