"""Scales by channel on the way through a SiLU."""

import numpy as np
import numpy.typing as npt
import pytest

from distq.quant.gate_factors import GateScales, gate_scales

Floats = npt.NDArray[np.float64]
CUTS = tuple((-end, end / (1 + np.exp(end))) for end in np.linspace(1, 8, 15))


def silu(x: Floats) -> Floats:
    return x / (1 + np.exp(-x))


def found(low: Floats, high: Floats, *, symmetric: bool = False, read: bool = True) -> GateScales:
    product = silu(np.maximum(low, -1.2785)), silu(high)  # a SiLU is least at -1.2785
    every = np.full(low.size, read)
    return gate_scales((low, high), product, CUTS, every, symmetric=symmetric)


@pytest.mark.parametrize("symmetric", [False, True])
def test_unlike_channels_gain_and_have_one_zero_point_and_the_same_factors(symmetric: bool) -> None:
    high = np.array([80.0, 10, 4, 2])
    scales = found(np.full(4, -2.0), high, symmetric=symmetric)
    assert scales.gain > 6
    steps = [(ends[1] - ends[0]) / 255 for ends in (scales.data, scales.product)]
    for low, high_end in (scales.data, scales.product):
        assert np.ptp(low / high_end) < 1e-9  # one zero point
    assert np.ptp(steps[1] / steps[0]) < 1e-9
    assert np.all(np.diff(steps[0][:3]) < 0)
    assert np.all(scales.data[1] >= high * (1 - 1e-9))
    assert np.all(scales.product[1] >= silu(high) * (1 - 1e-2))


def test_alike_channels_gain_nothing() -> None:
    assert found(np.full(6, -3.0), np.full(6, 4.0)).gain < 3


def test_what_a_silu_makes_little_of_does_not_widen_the_steps() -> None:
    high = np.array([40.0, 3.0])
    deep, flat = (found(np.array([-40.0, low]), high) for low in (-40.0, -4.0))
    assert deep.data[0][1] > -20
    assert deep.data[1][1] < 2 * flat.data[1][1]


def test_channels_that_nothing_reads_decide_nothing() -> None:
    low, high = np.full(4, -2.0), np.array([80.0, 10, 2, 0.5])
    assert found(low, high, read=False).gain == 0
