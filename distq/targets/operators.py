"""The operators that quantizers can stand around, by what they do to their inputs."""

from __future__ import annotations

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Compute operators: they have weights, or multiply two activations."""

ARITHMETIC = frozenset({"Add", "Mul"})
"""All their inputs are data."""

ABSORBING = LAYERS | {"Add"}
"""A Relu, or Clip from zero, behind them is part of their integer kernel."""

AVERAGES = frozenset({"AveragePool", "GlobalAveragePool"})

PICKING = frozenset({"Split", "Gather", "GatherElements", "Expand", "Tile", "ReduceMax", "ReduceMin"})
"""Their outputs are some values of their input, or repeat them."""

PASS_THROUGH = PICKING | frozenset(
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

GATES = frozenset({"Sigmoid"})
"""Activations that may run on integers where they only multiply their own input: those of a SiLU."""

SWISHES = frozenset({"HardSwish"})
"""Activations that integer kernels of other operators make up."""

CONNECTING = ARITHMETIC | AVERAGES | PASS_THROUGH | {"Concat"}
"""What can run on integers between layers."""
