import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.quant.channel_factors import SMALLEST_FACTOR, ChannelWidths, even_out

WIDTHS = hnp.arrays(np.float64, (6, 5), elements=st.floats(0, 1e6, width=32))


def widths(values, bound=float("inf")):
    values = np.asarray(values, np.float64)
    return ChannelWidths(values, np.square(values).mean(axis=0) / 4, bound)


def weight(channels, *, depthwise=False):
    shape = (channels, 1, 9) if depthwise else (8, channels, 9)
    return np.random.default_rng(0).normal(size=shape)


@given(values=WIDTHS, bound=st.sampled_from([6.0, float("inf")]), depthwise=st.booleans())
def test_factors_are_at_most_one_and_estimated_to_gain(values, bound, depthwise):
    tensor = widths(np.minimum(values, bound), bound)
    found = even_out([tensor], [weight(5, depthwise=depthwise)], depthwise=depthwise)
    if found is not None:
        assert np.all((found.factors >= SMALLEST_FACTOR) & (found.factors <= 1))
        assert found.gain > 1
        assert found.headroom >= 1
        divided = tensor.widths / found.factors
        assert np.max(divided) <= tensor.evened_width(found) * (1 + 1e-9)


def test_channels_in_front_of_a_depthwise_layer_come_closer_and_the_widest_stays():
    tensor = widths([[1.0, 2, 4, 8]] * 4)
    found = even_out([tensor], [weight(4, depthwise=True)], depthwise=True)
    assert found is not None
    np.testing.assert_allclose(found.factors, (np.array([1, 2, 4, 8]) / 8) ** 0.75)
    assert tensor.evened_width(found) == pytest.approx(8.0)
    assert found.headroom == 1.0


def test_channels_that_are_equally_wide_already_are_left_alone():
    assert even_out([widths(np.full((4, 5), 3.0))], [weight(5)], depthwise=False) is None


def test_a_channel_that_never_moves_keeps_its_scale_and_none_is_blown_up_without_bound():
    found = even_out([widths([[0.0, 1e-9, 1, 10, 100]] * 4)], [weight(5, depthwise=True)], depthwise=True)
    assert found is not None
    assert found.factors[0] == 1.0
    assert found.factors[1] == SMALLEST_FACTOR
    assert found.factors[4] == 1.0


def test_channels_whose_width_differs_between_images_get_headroom():
    steady = np.tile([1.0, 2, 4, 8], (8, 1))
    moody = steady * np.where(np.arange(8) % 2, 1.0, 1.5)[:, None] ** np.array([1, -1, 1, -1])
    plain, roomy = (
        even_out([widths(w)], [weight(4, depthwise=True)], depthwise=True) for w in (steady, moody)
    )
    assert plain is not None
    assert roomy is not None
    assert plain.headroom == 1.0
    assert 1.0 < roomy.headroom <= 1.5


def test_a_bounded_tensor_needs_no_room_beyond_its_bound():
    moody = np.minimum(np.tile([1.0, 1, 1, 2, 3, 7], (8, 1)) * np.linspace(1, 1.4, 8)[:, None], 6.0)
    found = even_out([widths(moody, 6.0)], [weight(6, depthwise=True)], depthwise=True)
    assert found is not None
    assert widths(moody, 6.0).evened_width(found) <= 6.0 + 1e-9


def test_where_the_weights_would_lose_more_than_the_tensor_gains_nothing_is_taken():
    values = np.tile([0.5, 1.0, 1.0, 1.0], (4, 1))
    kernel = np.ones((8, 4, 1))
    kernel[:, 0] = 1e-3  # the narrow channel hardly counts, and would have to grow
    power = np.array([1e9, 1.0, 1.0, 1.0])
    assert even_out([ChannelWidths(values, power)], [kernel], depthwise=False) is None


@pytest.mark.parametrize("images", [1, 2, 3])
def test_few_images_are_enough_to_estimate(images):
    found = even_out([widths([[1.0, 8.0]] * images)], [weight(2, depthwise=True)], depthwise=True)
    assert found is not None
    assert found.headroom == 1.0


def test_a_small_gain_is_enough_where_weights_lose_nothing():
    tensor = widths([[8.0, 7.5, 7.5, 7.5]] * 4)
    found = even_out([tensor], [weight(4, depthwise=True)], depthwise=True)
    assert found is not None
    assert 1 < found.gain < 10**0.05
    assert even_out([tensor], [weight(4)], depthwise=False) is None


def test_channels_are_taken_in_the_order_asked_for():
    tensor = widths([[1.0, 2, 4, 8]] * 4)
    part = tensor.of((3, 0))
    np.testing.assert_array_equal(part.widths, [[8, 1]] * 4)
    np.testing.assert_array_equal(part.power, tensor.power[[3, 0]])
    assert tensor.of(()) is tensor
