import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold

KINDS = {
    "normal": lambda rng: rng.standard_normal(20_000),
    "laplace": lambda rng: rng.laplace(size=20_000),
    "half-normal": lambda rng: np.abs(rng.standard_normal(20_000)),
    "outlier": lambda rng: np.append(rng.laplace(size=20_000), 60.0),
    "far outlier": lambda rng: np.append(rng.exponential(size=200_000), 5000.0),
}


def error_of(magnitudes, limit, steps):
    scale = limit / steps
    return np.mean((magnitudes - scale * np.clip(np.rint(magnitudes / scale), 0, steps)) ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_next_to_the_least_squared_error(kind):
    values = KINDS[kind](np.random.default_rng(0))
    magnitudes = np.abs(values)
    steps = 255 if values.min() >= 0 else 127
    found = threshold(Distribution.of(values), "admm")
    best = min(error_of(magnitudes, t, steps) for t in magnitudes.max() * np.geomspace(2**-10, 1, 200))
    assert error_of(magnitudes, found, steps) <= 1.06 * best


def test_it_is_better_than_the_published_iteration_from_one_start():
    values = np.abs(np.random.default_rng(0).standard_normal(20_000))
    scale = values.max() / (2.5 * 127)
    for _ in range(300):
        quantized = np.clip(np.rint(values / scale), 0, 255)
        scale = np.sum(quantized * values) / np.sum(quantized**2)
    found = threshold(Distribution.of(values), "admm")
    assert error_of(values, found, 255) < error_of(values, 255 * scale, 255)


def test_few_values_are_represented_exactly():
    values = np.array([0.5, 1.0, 1.5, 2.0])
    found = threshold(Distribution.of(values), "admm")
    assert error_of(values, found, 255) < 1e-5
