"""TensorRT, whose INT8 is symmetric: zero points are 0, and a bias is read in float32 alone."""

from __future__ import annotations

from distq.targets.operators import CONNECTING, LAYERS
from distq.targets.target import Target

TENSORRT = Target(
    name="tensorrt",
    placement="layer inputs",
    layers=LAYERS,
    kernels=CONNECTING,
    schemes=("symmetric",),
    signed=True,
    bias="float32",
    activation_bits=(8,),
    per_channel_weights=True,
)
"""The target that ``--target`` names ``tensorrt``."""
