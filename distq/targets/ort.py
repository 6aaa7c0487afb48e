"""ONNX Runtime on a CPU, which runs integer kernels where quantizers stand on all sides of an operator.

Activations are uint8 for a symmetric range too. ONNX Runtime rewrites int8 activations to uint8 by itself and
then misses fusions.
"""

from __future__ import annotations

from distq.targets.operators import CONNECTING, GATES, LAYERS, SWISHES
from distq.targets.target import Target
from distq.targets.times import FormTimes, KernelTimes

ORT = Target(
    name="ort",
    placement="everywhere",
    layers=LAYERS,
    kernels=CONNECTING | GATES | SWISHES,
    schemes=("auto", "symmetric"),
    signed=False,
    bias="int32",
    activation_bits=(8, 16),
    saturates=True,
    per_channel_weights=True,
    absorbs_saturation=True,
    channel_scales="gates",
    fused_kernels=frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger"}),
    writes_float=frozenset({"MatMul", "Gemm"}),
    subpixel=True,
    times=KernelTimes(
        int8=FormTimes(start=1.3, thin=75, dense=8, group=35, value=0.13, entered=0.4),
        in_float=FormTimes(start=0.8, thin=38, dense=20, group=8, value=0.1, entered=0.2),
        few=4,
    ),
)
"""The target that ``--target`` names ``ort``."""
