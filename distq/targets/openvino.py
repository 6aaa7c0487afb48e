"""OpenVINO, which takes a quantizer in front of each layer and finds by itself what else runs on integers."""

from __future__ import annotations

from distq.targets.operators import CONNECTING, LAYERS
from distq.targets.target import Target

OPENVINO = Target(
    name="openvino",
    placement="layer inputs",
    layers=LAYERS,
    kernels=CONNECTING,
    schemes=("auto", "symmetric"),
    signed=True,
    bias="int32",
    activation_bits=(8, 16),
    saturates=True,
    per_channel_weights=True,
    channel_scales="quantizers",
)
"""The target that ``--target`` names ``openvino``."""
