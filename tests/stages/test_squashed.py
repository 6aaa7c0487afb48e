import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from distq.replica.counts import counts_of
from distq.stages.squashed import LARGEST_SHIFT, shift_to_mean


def mean_behind(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray((1 / (1 + np.exp(-values))).mean(axis=(0, 2)))


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 4), st.floats(-2, 2))
def test_shifted_values_have_the_mean_of_the_others_behind_the_sigmoid(
    seed: int, width: float, moved: float
) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.normal(-4, 2, (1, 3, 500))
    own = wanted * width + moved
    shift = shift_to_mean(counts_of(own.astype(np.float32)), counts_of(wanted.astype(np.float32)))
    if np.abs(shift).max() < LARGEST_SHIFT - 1e-6:
        np.testing.assert_allclose(mean_behind(own + shift[:, None]), mean_behind(wanted), rtol=0.02)


def test_equal_values_need_no_shift() -> None:
    values = np.random.default_rng(0).normal(-3, 2, (1, 2, 100)).astype(np.float32)
    np.testing.assert_allclose(shift_to_mean(counts_of(values), counts_of(values)), 0, atol=1e-6)


def test_lost_peaks_are_found_again() -> None:
    """Clipping takes the few large values away; the mean in front of the Sigmoid hardly notices."""
    exact = np.full((1, 1, 1000), -6.0, np.float32)
    exact[..., :10] = 4
    clipped = np.minimum(exact, 0)
    shift = shift_to_mean(counts_of(clipped), counts_of(exact))
    assert shift[0] > 0.5
    np.testing.assert_allclose(mean_behind(clipped + shift), mean_behind(exact), rtol=0.02)


def test_a_shift_is_bounded_where_no_mean_can_be_met() -> None:
    low, high = (np.full((1, 1, 10), value, np.float32) for value in (-19, 19))
    np.testing.assert_allclose(shift_to_mean(counts_of(low), counts_of(high)), LARGEST_SHIFT)
