"""The operators that quantizers can stand around, by what they do to their inputs."""

from __future__ import annotations

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Compute operators: they have weights, or multiply two activations."""

ARITHMETIC = frozenset({"Add", "Mul"})
"""All their inputs are data."""

AVERAGES = frozenset({"AveragePool", "GlobalAveragePool"})

PASS_THROUGH = frozenset(
    {
        "MaxPool",
        "GlobalMaxPool",
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
    }
)
"""Their outputs are values of their input (a linear Resize: between them), so they share its quantizer."""

CONNECTING = ARITHMETIC | AVERAGES | PASS_THROUGH | {"Concat"}
"""What can run on integers between layers."""
