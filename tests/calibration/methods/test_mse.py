import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold
from distq.calibration.ranges import tensor_range

RNG_SIZE = 20_000


def silu(x):
    return x / (1 + np.exp(-x))


KINDS = {
    "normal": lambda rng: rng.standard_normal(RNG_SIZE),
    "laplace": lambda rng: rng.laplace(size=RNG_SIZE),
    "half-normal": lambda rng: np.abs(rng.standard_normal(RNG_SIZE)),
    "relu": lambda rng: np.maximum(rng.standard_normal(RNG_SIZE), 0),
    "silu": lambda rng: silu(3 * rng.standard_normal(RNG_SIZE)),
    "uniform": lambda rng: rng.uniform(-0.3, 1, RNG_SIZE),
    "outlier": lambda rng: np.append(rng.laplace(size=RNG_SIZE), 60.0),
    "far outlier": lambda rng: np.append(rng.exponential(size=200_000), 5000.0),
    "mostly negative": lambda rng: 0.1 - rng.exponential(size=RNG_SIZE),
}


def quantization_error(values, low, high, zero_point_free=True):
    """Mean squared error of uint8 over [low, high], or of symmetric int8, by rounding every value."""
    if zero_point_free:
        scale = (high - low) / 255
        zero_point = np.rint(-low / scale)
        quantized = np.clip(np.rint(values / scale) + zero_point, 0, 255) - zero_point
    else:
        scale = high / 127
        quantized = np.clip(np.rint(values / scale), -127, 127)
    return np.mean((values - scale * quantized) ** 2)


def octav(magnitudes, bits, unsigned):
    """The clip that Sakr et al. 2022 iterate to, on dense values (REFERENCE.md 2.6)."""
    clip = magnitudes.mean()
    for _ in range(50):
        above = magnitudes > clip
        clip = magnitudes[above].sum() / (
            4.0**-bits / (3 * (4 if unsigned else 1)) * (~above).sum() + above.sum()
        )
    return clip


@pytest.mark.parametrize("kind", KINDS)
def test_no_threshold_of_a_fine_grid_is_better(kind):
    values = KINDS[kind](np.random.default_rng(0)).astype(np.float32).astype(np.float64)
    distribution = Distribution.of(values)
    grid = distribution.absmax * np.geomspace(2**-10, 1, 200)
    best = min(quantization_error(values, *tensor_range(distribution, t)) for t in grid)
    found = threshold(distribution, "mse")
    assert quantization_error(values, *tensor_range(distribution, found)) <= 1.01 * best


def test_given_levels_the_grid_is_symmetric():
    values = KINDS["silu"](np.random.default_rng(0))
    distribution = Distribution.of(values)
    grid = distribution.absmax * np.geomspace(2**-5, 1, 200)
    best = min(quantization_error(values, -t, t, zero_point_free=False) for t in grid)
    found = threshold(distribution, "mse", levels=128)
    assert quantization_error(values, -found, found, zero_point_free=False) <= 1.01 * best


def test_it_agrees_with_octav_on_dense_tensors():
    laplace = np.random.default_rng(0).laplace(size=200_000)
    for values, unsigned in ((laplace, False), (np.abs(laplace), True)):
        expected = octav(np.abs(values), 8, unsigned)
        assert threshold(Distribution.of(values), "mse", levels=256 if unsigned else 128) == pytest.approx(
            expected, rel=0.05
        )


def test_what_the_grid_represents_exactly_is_not_clipped():
    image = Distribution.of(np.repeat(np.arange(256) / 255, 1000))
    assert threshold(image, "mse") == pytest.approx(1.0, rel=1e-3)


def test_16_bit_grids_are_never_clipped():
    values = np.random.default_rng(0).laplace(size=1000).astype(np.float32)
    assert threshold(Distribution.of(values), "mse", levels=32768) == np.abs(values).max()
