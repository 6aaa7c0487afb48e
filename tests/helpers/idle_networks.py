"""Random networks in which operators do nothing, cancel one another, or repeat one another."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from networks import Builder

CHANNELS, SIZE = 4, 6


def _number(b, value):
    return b.constant(np.array(value, np.float32))


def _integers(b, *values):
    return b.constant(np.array(values, np.int64))


OPERATORS = {
    "Relu": lambda b, x: b.node("Relu", x),
    "Clip to 6": lambda b, x: b.node("Clip", x, _number(b, 0.0), _number(b, 6.0)),
    "Clip, symmetric": lambda b, x: b.node("Clip", x, _number(b, -1.0), _number(b, 1.0)),
    "Clip, wide": lambda b, x: b.node("Clip", x, _number(b, -100.0), _number(b, 100.0)),
    "Clip, open": lambda b, x: b.node("Clip", x),
    "Cast": lambda b, x: b.node("Cast", x, to=1),
    "Identity": lambda b, x: b.node("Identity", x),
    "Mul by 1": lambda b, x: b.node("Mul", x, _number(b, 1.0)),
    "Add of 0": lambda b, x: b.node("Add", _number(b, 0.0), x),
    "Mul by 2": lambda b, x: b.node("Mul", x, _number(b, 2.0)),
    "Transpose there and back": lambda b, x: b.node(
        "Transpose", b.node("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]
    ),
    "Reshape there and back": lambda b, x: b.node(
        "Reshape", b.node("Reshape", x, _integers(b, 1, -1)), _integers(b, 1, CHANNELS, SIZE, SIZE)
    ),
    "Unsqueeze and Squeeze": lambda b, x: b.node(
        "Squeeze", b.node("Unsqueeze", x, _integers(b, 0)), _integers(b, 0)
    ),
    "MaxPool of 1": lambda b, x: b.node("MaxPool", x, kernel_shape=[1, 1]),
    "AveragePool of 1": lambda b, x: b.node("AveragePool", x, kernel_shape=[1, 1]),
    "Slice of all": lambda b, x: b.node("Slice", x, _integers(b, 0), _integers(b, 2**31), _integers(b, 1)),
    "Concat of one": lambda b, x: b.node("Concat", x, axis=1),
    "Neg twice": lambda b, x: b.node("Neg", b.node("Neg", x)),
    "LeakyRelu": lambda b, x: b.node("LeakyRelu", x, alpha=0.1),
    "Sigmoid": lambda b, x: b.node("Sigmoid", x),
    "SiLU": lambda b, x: b.node("Mul", x, b.node("Sigmoid", x)),
    "Conv": lambda b, x: b.conv(x, (CHANNELS, CHANNELS)),
    "Add to itself": lambda b, x: b.node("Add", x, x),
}


def network(seed, rows, *, joined=None):
    """Layers with operators between them; a second branch from the first layer where ``joined`` says how.

    Args:
        seed: of the weights.
        rows: operators behind each layer.
        joined: Add, Mul or Concat; None: one branch.
    """
    b = Builder(seed)
    first = x = b.conv("x", (3, CHANNELS))
    for row in rows:
        for name in row:
            x = OPERATORS[name](b, x)
        x = b.conv(x, (CHANNELS, CHANNELS))
    if joined == "Concat":
        x = b.conv(b.node("Concat", x, b.node("Relu", first), axis=1), (2 * CHANNELS, CHANNELS))
    elif joined is not None:
        x = b.conv(b.node(joined, x, b.node("Relu", first)), (CHANNELS, CHANNELS))
    b.conv(x, (CHANNELS, 3), output="y")
    return b.model({"x": [1, 3, SIZE, SIZE]}, ["y"])


networks_of_idle_operators = st.builds(
    network,
    st.integers(0, 2**16),
    st.lists(st.lists(st.sampled_from(sorted(OPERATORS)), max_size=3), min_size=1, max_size=3),
    joined=st.sampled_from([None, "Add", "Mul", "Concat"]),
)
