import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.quant.rounding import BLOCK, factor_of, round_by_factor


def round_by_covariance(weight, scale, covariance, *rows):
    return round_by_factor(weight, scale, factor_of(covariance, *rows))


def problem(seed, groups=2, outputs=3, inputs=9, samples=200):
    """Weights in the range of their scale, and the covariance of correlated inputs."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(groups, outputs, inputs))
    scale = abs(weight).max(axis=2) / 127 * rng.uniform(4, 30)  # coarse, so that rounding matters
    mixing = rng.normal(size=(groups, inputs, inputs))
    patches = rng.normal(size=(groups, samples, inputs)) @ mixing
    centred = patches - patches.mean(axis=1, keepdims=True)
    return weight, scale, centred.transpose(0, 2, 1) @ centred / samples


def variance(weight, integers, scale, covariance):
    """Of the output error, (groups, outputs)."""
    error = integers * scale[..., None] - weight
    return np.einsum("goi,gij,goj->go", error, covariance, error)


@given(seed=st.integers(0, 10_000), inputs=st.integers(2, 24))
def test_the_output_moves_less_than_when_each_weight_is_rounded_by_itself(seed, inputs):
    weight, scale, covariance = problem(seed, inputs=inputs, outputs=16)
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    found = round_by_covariance(weight, scale, covariance)
    assert (
        variance(weight, found, scale, covariance).sum()
        <= 1.02 * variance(weight, nearest, scale, covariance).sum()
    )


@given(seed=st.integers(0, 10_000))
def test_inputs_that_do_not_vary_together_leave_rounding_to_nearest(seed):
    weight, scale, covariance = problem(seed)
    alone = np.einsum("gii->gi", covariance)[:, :, None] * np.eye(covariance.shape[1])
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    np.testing.assert_array_equal(round_by_covariance(weight, scale, alone), nearest)


def test_inputs_that_are_never_there_leave_rounding_to_nearest():
    weight, scale, covariance = problem(0)
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    np.testing.assert_array_equal(round_by_covariance(weight, scale, covariance * 0), nearest)


@given(seed=st.integers(0, 10_000), factor=st.sampled_from([2.0**-20, 2.0**20]))
def test_the_unit_of_the_covariance_does_not_matter(seed, factor):
    weight, scale, covariance = problem(seed)
    np.testing.assert_array_equal(
        round_by_covariance(weight, scale, covariance),
        round_by_covariance(weight, scale, covariance * factor),
    )


def test_groups_are_rounded_each_by_itself():
    weight, scale, covariance = problem(3, groups=4)
    together = round_by_covariance(weight, scale, covariance)
    for g in range(4):
        part = slice(g, g + 1)
        alone = round_by_covariance(weight[part], scale[part], covariance[part])
        np.testing.assert_array_equal(together[part], alone)


def test_integers_stay_in_the_range_of_int8_weights_where_the_scale_is_too_small():
    weight, scale, covariance = problem(1)
    found = round_by_covariance(weight, scale / 1000, covariance)
    assert (found.dtype, found.shape) == (np.int8, weight.shape)
    assert abs(found.astype(int)).max() == 127


@pytest.mark.parametrize("inputs", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_more_inputs_than_a_block_are_rounded_as_well(inputs):
    weight, scale, covariance = problem(5, groups=1, outputs=8, inputs=inputs, samples=600)
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    found = round_by_covariance(weight, scale, covariance)
    better = variance(weight, found, scale, covariance).sum()
    assert better < 0.9 * variance(weight, nearest, scale, covariance).sum()


def test_the_arguments_are_left_as_they_are():
    given_arguments = problem(7)
    copies = [array.copy() for array in given_arguments]
    round_by_covariance(*given_arguments)
    for array, copy in zip(given_arguments, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def rectified(seed, count, inputs=96):
    """Rows as a layer behind a Relu reads them, centred."""
    mixing = np.random.default_rng(0).normal(size=(inputs // 4, inputs)) / 5
    rng = np.random.default_rng(seed)
    rows = np.maximum(
        rng.normal(size=(count, inputs // 4)) @ mixing + rng.normal(size=(count, inputs)) / 2, 0
    )
    return rows - rows.mean(axis=0)


@pytest.mark.parametrize("count", [12, 48, 96])
def test_what_few_rows_show_is_not_taken_for_all(count):
    """On other rows, rounding by few is hardly worse than each weight by itself."""
    weight, scale, _ = problem(3, 1, 64, 96)
    rows, others = rectified(1, count), rectified(2, 20_000)
    seen, other = (found.T @ found / len(found) for found in (rows, others))
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    plain = round_by_covariance(weight, scale, seen[None])
    careful = round_by_covariance(weight, scale, seen[None], count)
    alone, before, after = (variance(weight, w, scale, other[None]).sum() for w in (nearest, plain, careful))
    assert after < before
    assert after < 1.08 * alone


def test_enough_rows_change_nothing():
    weight, scale, covariance = problem(0)
    plain = round_by_covariance(weight, scale, covariance)
    np.testing.assert_array_equal(round_by_covariance(weight, scale, covariance, 8 * 9), plain)


def test_inputs_far_narrower_than_others_are_rounded_together_by_few_rows_too():
    """In front of a transformer's layers some channels are ten times as wide as the others."""
    weight, scale, _ = problem(3, 1, 64, 96)
    width = np.where(np.arange(96) % 8, 1, 10)
    rows, others = rectified(1, 48) * width, rectified(2, 20_000) * width
    seen, other = (found.T @ found / len(found) for found in (rows, others))
    nearest = np.clip(np.rint(weight / scale[..., None]), -127, 127)
    careful = round_by_covariance(weight, scale, seen[None], 48)
    alone, after = (variance(weight, w, scale, other[None]).sum() for w in (nearest, careful))
    assert after < 0.9 * alone
