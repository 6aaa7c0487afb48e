import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.quant.scheme import (
    SMALLEST_THRESHOLD,
    Encoding,
    along,
    encode,
    fit_weight_scale,
    largest_magnitudes,
    quantize_bias,
    round_weight,
    threshold_range,
    weight_scale,
)

finite = st.floats(-(2.0**100), 2.0**100, width=32)
positive = st.floats(2.0**-99, 1e30)
form = st.fixed_dictionaries(
    {"bits": st.sampled_from([8, 16]), "symmetric": st.booleans(), "signed": st.booleans()}
)
HALF = 0.505  # of a step; at 16 bits the rounding of the scale to float32 shows


def weights(shape):
    return hnp.arrays(np.float32, shape, elements=st.floats(-1e6, 1e6, width=32))


def limits(encoding):
    info = np.iinfo(encoding.dtype)
    return int(info.min), int(info.max)


def round_trip(value, encoding):
    integer = np.clip(np.rint(value / encoding.scale) + encoding.zero_point, *limits(encoding))
    return (float(integer) - encoding.zero_point) * encoding.scale


@given(low=finite, high=finite, form=form)
def test_zero_is_exact_and_the_scale_is_a_normal_float32_above_zero(low, high, form):
    encoding = encode(min(low, high), max(low, high), **form)
    least, most = limits(encoding)
    assert least <= encoding.zero_point <= most
    assert round_trip(0.0, encoding) == 0.0
    assert encoding.scale == np.float32(encoding.scale)
    assert encoding.scale >= np.finfo(np.float32).tiny


@given(low=finite, high=finite, form=form, part=st.floats(0, 1))
def test_every_value_of_the_range_is_kept_to_half_a_step(low, high, form, part):
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    encoding = encode(low, high, **form)
    value = low + part * (high - low)
    assert abs(round_trip(value, encoding) - value) <= HALF * encoding.scale


@given(low=finite, high=finite, form=form)
def test_no_step_is_wasted_beyond_the_range(low, high, form):
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    encoding = encode(low, high, **form)
    steps = 2 ** form["bits"] - (2 if form["symmetric"] else 1)
    wanted = 2 * max(-low, high) if form["symmetric"] else high - low
    assert encoding.scale * steps == pytest.approx(max(wanted, steps * 2.0**-126), rel=1e-6)


@given(low=finite, high=finite, bits=st.sampled_from([8, 16]))
def test_a_symmetric_range_puts_zero_in_the_middle_signed_or_not(low, high, bits):
    signed, unsigned = (
        encode(min(low, high), max(low, high), bits, symmetric=True, signed=s) for s in (True, False)
    )
    assert (signed.zero_point, unsigned.zero_point) == (0, 2 ** (bits - 1))
    assert (signed.signed, unsigned.signed) == (True, False)
    assert signed.scale == unsigned.scale


@given(high=positive, bits=st.sampled_from([8, 16]))
def test_a_range_that_starts_at_zero_has_zero_point_zero(high, bits):
    assert encode(0.0, high, bits, symmetric=False).zero_point == 0
    assert encode(-high, 0.0, bits, symmetric=False).zero_point == 2**bits - 1


def test_known_encodings():
    assert encode(0, 2.55, 8, symmetric=False) == Encoding(float(np.float32(0.01)), 0, 8, signed=False)
    assert encode(-1, 1, 8, symmetric=True, signed=True) == Encoding(
        float(np.float32(1 / 127)), 0, 8, signed=True
    )
    assert encode(-0.2784, 5, 8, symmetric=False).zero_point == 13  # as after SiLU
    assert encode(-1, 1, 16, symmetric=False).dtype == np.uint16
    assert encode(-1, 1, 16, symmetric=True, signed=True).dtype == np.int16


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_range_of_nothing_has_a_scale_all_the_same(symmetric, bits):
    for edge in (0.0, 1e-45, 1e-40):
        assert encode(-edge, edge, bits, symmetric=symmetric).scale >= np.finfo(np.float32).tiny


@given(low=finite, high=finite, threshold=positive)
def test_a_threshold_gives_the_observed_range_cut_at_it(low, high, threshold):
    low, high = min(low, high), max(low, high)
    found = threshold_range(low, high, threshold)
    assert found[0] <= 0 <= found[1]
    assert max(-low, high) < SMALLEST_THRESHOLD or found == (
        max(min(low, 0), -threshold),
        min(max(high, 0), threshold),
    )


@pytest.mark.parametrize(
    ("observed", "threshold", "found"),
    [
        ((0.0, 8.0), 5.0, (0.0, 5.0)),
        ((0.0, 8.0), 9.0, (0.0, 8.0)),
        ((-0.28, 8.0), 5.0, (-0.28, 5.0)),
        ((-8.0, 8.0), 5.0, (-5.0, 5.0)),
        ((2.0, 8.0), 5.0, (0.0, 5.0)),
        ((-8.0, -2.0), 5.0, (-5.0, 0.0)),
        ((0.0, 0.0), 1.0, (0.0, 1.0)),
        ((-1e-40, 0.0), 1.0, (-1.0, 1.0)),
    ],
)
def test_known_ranges(observed, threshold, found):
    assert threshold_range(*observed, threshold) == found


@given(weight=weights((3, 4, 2)), axis=st.sampled_from([0, 1, 2, None]))
def test_weights_come_back_to_half_a_step_and_use_the_whole_of_int8(weight, axis):
    scale = weight_scale(largest_magnitudes(weight, axis))
    integers = round_weight(weight, scale, axis)
    step = along(scale, 3, axis)
    assert (integers.dtype, scale.dtype) == (np.int8, np.float32)
    assert scale.shape == (() if axis is None else (weight.shape[axis],))
    assert (scale > 0).all()
    assert abs(integers.astype(int)).max() <= 127
    assert (abs(integers * step.astype(np.float64) - weight) <= HALF * step).all()
    others = None if axis is None else tuple(i for i in range(3) if i != axis)
    largest = abs(integers.astype(int)).max(axis=others)
    assert ((largest == 127) | (abs(weight).max(axis=others) < 1e-35)).all()


def test_a_channel_of_zeros_stays_zero_beside_others():
    weight = np.array([[0, 0], [1, -2]], np.float32)
    scale = weight_scale(largest_magnitudes(weight, 0))
    integers = round_weight(weight, scale, 0)
    np.testing.assert_array_equal(integers, [[0, 0], [64, -127]])
    assert scale[0] > 0


@given(weight=weights((4, 3)), factor=st.floats(1, 100))
def test_a_larger_scale_only_makes_weights_smaller(weight, factor):
    scale = weight_scale(largest_magnitudes(weight, 0))
    integers = round_weight(weight, scale, 0)
    wider = round_weight(weight, (scale * np.float32(factor)).astype(np.float32), 0)
    assert (abs(wider.astype(int)) <= abs(integers.astype(int))).all()


@given(
    bias=hnp.arrays(np.float64, 5, elements=st.floats(-1e4, 1e4)),
    scale=hnp.arrays(np.float32, 5, elements=st.floats(2**-60, 1, width=32)),
    input_scale=st.floats(2**-20, 1, width=32),
)
def test_a_bias_fits_once_the_weight_scale_is_fitted_even_where_thresholds_shrink_by_three(
    bias, scale, input_scale
):
    fitted = fit_weight_scale(scale, bias, input_scale)
    assert (fitted >= scale).all()
    for smaller in (input_scale, input_scale / 3):
        integers, step = quantize_bias(bias, smaller, fitted)
        assert integers.dtype == np.int32
        assert (abs(integers * step.astype(np.float64) - bias) <= HALF * step).all()


@given(scale=hnp.arrays(np.float32, 5, elements=st.floats(2**-10, 1, width=32)))
def test_a_scale_under_which_the_bias_fits_is_left_as_it_is(scale):
    np.testing.assert_array_equal(fit_weight_scale(scale, np.full(5, 100.0), 0.01), scale)


def test_one_scale_for_all_is_raised_for_the_largest_bias():
    fitted = fit_weight_scale(np.array(1e-9, np.float32), np.array([0.0, -3.0]), 1e-3)
    assert fitted.shape == ()
    assert fitted == pytest.approx(3.0 / (1e-3 * 2**29), rel=1e-6)


def test_a_bias_too_large_saturates_and_does_not_wrap():
    integers, _ = quantize_bias(np.array([1e30, -1e30]), 1.0, np.array([1e-3, 1e-3], np.float32))
    assert integers.tolist() == [2**31 - 1, -(2**31) + 1]


def test_the_bias_has_the_scale_that_kernels_compute():
    weight_scale = np.array([0.1, 0.3], np.float32)
    _, scale = quantize_bias(np.zeros(2), 0.7, weight_scale)
    np.testing.assert_array_equal(scale, np.float32(0.7) * weight_scale)
