import math

import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold

KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "half-normal": lambda rng, n: np.abs(rng.standard_normal(n)),
    "relu": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
    "relu6": lambda rng, n: np.clip(4 * rng.standard_normal(n), 0, 6),
    "outliers": lambda rng, n: np.append(rng.laplace(size=n), rng.uniform(20, 100, 3)),
    "mixture": lambda rng, n: np.append(rng.standard_normal(n), 5 * rng.standard_normal(n // 20)),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "8-bit image": lambda rng, n: rng.integers(0, 256, n) / 255 - 0.5,
}


def two_passes(values, bins, levels):
    """Width and the divergence of each candidate, from raw values, by REFERENCE.md 2.1."""
    magnitudes = np.abs(values.astype(np.float64))
    magnitudes = magnitudes[magnitudes > 0]
    width = magnitudes.max() / (bins - 1)
    histogram = np.bincount(np.floor(magnitudes / width + 0.5).astype(int), minlength=bins).astype(float)
    divergences = {}
    for kept in range(levels, bins + 1, levels):
        inside = histogram[:kept].copy()
        p = inside.copy()
        p[kept - 1] += histogram[kept:].sum()
        p /= histogram.sum()
        q = np.zeros(kept)
        group = kept // levels
        for start in range(0, kept, group):
            members = inside[start : start + group]
            occupied = members > 0
            if occupied.any():
                q[start : start + group][occupied] = members.sum() / occupied.sum()
        q /= max(inside.sum(), 1.0)
        divergences[kept] = float(np.sum(p * (np.log10(p + 1e-30) - np.log10(q + 1e-30))))
    return width, divergences


@pytest.mark.parametrize("bins", [512, 2048, 4096])
@pytest.mark.parametrize("count", [3_000, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_kl_picks_what_two_passes_over_the_raw_values_pick(kind, count, bins):
    for seed in range(2):
        values = KINDS[kind](np.random.default_rng(seed), count).astype(np.float32)
        levels = 256 if values.min() >= 0 else 128
        width, divergences = two_passes(values, bins, levels)
        picked = threshold(Distribution.of(values), "kl", bins) / width
        assert picked == pytest.approx(round(picked), abs=1e-6)
        assert divergences[round(picked)] <= 1.01 * min(divergences.values())


@pytest.mark.parametrize(("bins", "published"), [(512, 255.499), (2048, 255.125), (204_800, 255.0012451)])
def test_without_clipping_the_published_constants_come_out(bins, published):
    distribution = Distribution.of(np.array([-255.0, 1.0, 2.0, 3.0]))
    assert threshold(distribution, "kl", bins) == pytest.approx(published, abs=5e-4 if bins < 1e5 else 5e-8)


def test_smooth_tails_are_not_clipped_but_a_lone_outlier_is():
    rng = np.random.default_rng(1)
    normal, laplace = rng.standard_normal(200_000), rng.laplace(size=200_000)
    for values in (normal, laplace):
        largest = np.abs(values).max()
        assert threshold(Distribution.of(values), "kl") == pytest.approx(largest * 2048 / 2047, rel=1e-6)
    with_outlier = Distribution.of(np.append(laplace, 60.0))
    assert threshold(with_outlier, "kl") == pytest.approx(60 / 2047 * 256, rel=1e-6)


def test_exact_zeros_do_not_count():
    values = np.random.default_rng(0).laplace(size=50_000)
    dense, sparse = Distribution.of(values), Distribution.of(np.append(values, np.zeros(200_000)))
    assert threshold(sparse, "kl") == threshold(dense, "kl")


def test_never_negative_tensors_have_256_levels_and_bins_are_raised_to_a_multiple():
    values = np.abs(np.random.default_rng(0).standard_normal(10_000)).astype(np.float32)
    distribution = Distribution.of(values)
    assert threshold(distribution, "kl", 384) == threshold(distribution, "kl", 512)
    assert threshold(distribution, "kl", 128) == pytest.approx(float(values.max()) * 256 / 255)
    assert threshold(distribution, "kl", 384, levels=128) != threshold(distribution, "kl", 512, levels=128)


def test_one_value_alone_is_never_clipped():
    for value in (3.0, -3.0):
        assert math.isclose(threshold(Distribution.of(np.array([value])), "kl"), 3.0 * 2048 / 2047)
