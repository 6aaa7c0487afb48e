"""ONNX Runtime on a CPU, which runs integer kernels where quantizers stand on all sides of an operator.

Activations are uint8 for a symmetric range too. ONNX Runtime rewrites int8 activations to uint8 by itself and
then misses fusions.
"""

from __future__ import annotations

from distq.targets.operators import CONNECTING, GATES, LAYERS, SWISHES
from distq.targets.target import Target

ORT = Target(
    name="ort",
    placement="everywhere",
    layers=LAYERS,
    kernels=CONNECTING | GATES | SWISHES,
    schemes=("auto", "symmetric"),
    signed=False,
    bias="int32",
    activation_bits=(8, 16),
    per_channel_weights=True,
    absorbs_saturation=True,
    fused_kernels=frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger"}),
    writes_float=frozenset({"MatMul", "Gemm"}),
)
"""The target that ``--target`` names ``ort``."""
