import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.errors import DataError, ModelError, UsageError
from distq.search.metrics import (
    ImageStatistics,
    compare,
    cosine,
    mean_over_images,
    mean_squared,
    merge,
    nmse,
    per_image_diff,
    power_of,
    sqnr_db,
    top_k,
    total_power,
)


def images(seed, count=6, shapes=((3,), (2, 4))):
    """(candidate, reference) outputs of some images."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        reference = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        yield (
            [y + np.float32(0.1) * rng.normal(size=y.shape).astype(np.float32) for y in reference],
            reference,
        )


def statistics(seed, count=6):
    return merge([compare(candidate, reference) for candidate, reference in images(seed, count)])


def all_figures(stats):
    return nmse(stats), sqnr_db(stats), cosine(stats)


def zero_output(candidate_value):
    return merge([compare([np.full(4, candidate_value)], [np.zeros(4)]) for _ in range(3)])


def test_figures_of_a_worked_example():
    """y32 = (3, 4), y8 = (3, 3): error 1, powers 25 and 18, dot 21."""
    stats = compare([np.array([3.0, 3.0])], [np.array([3.0, 4.0])])
    assert stats.error.shape == (1, 1)
    assert nmse(stats) == pytest.approx(1 / 25)
    assert sqnr_db(stats) == pytest.approx(10 * math.log10(25))
    assert cosine(stats) == pytest.approx(21 / math.sqrt(25 * 18))


def one(candidate, reference):
    return compare([np.array(candidate)], [np.array(reference)])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_place_that_is_infinite_or_nan_in_both_is_left_out(value):
    stats = one([value, 3.0, 3.0, value], [value, 3.0, 4.0, value])
    assert all_figures(stats) == all_figures(one([3.0, 3.0], [3.0, 4.0]))
    assert power_of(np.array([value, 3.0, 4.0], np.float32)) == stats.power[0, 0] == 25


def test_an_output_that_is_infinite_everywhere_in_both_is_equal():
    stats = one([math.inf, -math.inf], [math.inf, -math.inf])
    assert all_figures(stats) == (0.0, math.inf, 1.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("candidate", "reference"),
    [(math.inf, 1.0), (1.0, -math.inf), (math.inf, -math.inf), (math.nan, 1.0), (1.0, math.nan)],
)
def test_an_infinity_or_nan_in_one_network_alone_is_an_infinite_error(candidate, reference):
    for rest in ([], [2.0]):
        assert all_figures(one([candidate, *rest], [reference, *rest])) == (math.inf, -math.inf, 0.0)
    assert all_figures(one([math.nan], [math.inf])) == (math.inf, -math.inf, 0.0)


@given(st.integers(0, 1000))
def test_nmse_is_the_ratio_of_sums_over_all_images_averaged_over_outputs(seed):
    ratios = []
    for output in range(2):
        pairs = [(y8[output], y32[output]) for y8, y32 in images(seed)]
        error = sum(((y8.astype(np.float64) - y32) ** 2).sum() for y8, y32 in pairs)
        power = sum((y32.astype(np.float64) ** 2).sum() for _, y32 in pairs)
        ratios.append(error / power)
    assert nmse(statistics(seed)) == pytest.approx(np.mean(ratios), rel=1e-12)


@given(st.integers(0, 1000), st.integers(1, 11))
def test_figures_are_the_same_bits_however_images_were_grouped_or_ordered(seed, cut):
    rows = [compare(candidate, reference) for candidate, reference in images(seed, count=12)]
    together = all_figures(merge(rows))
    assert all_figures(merge([merge(rows[:cut]), merge(rows[cut:])])) == together
    assert all_figures(merge(rows[::-1])) == together


@given(st.integers(0, 1000))
def test_the_mean_of_per_image_diffs_is_the_nmse(seed):
    stats = statistics(seed)
    diff = per_image_diff(stats.error, total_power(stats))
    assert diff.shape == (6,)
    assert mean_over_images(diff) == nmse(stats)
    assert diff.mean() == pytest.approx(nmse(stats))


def test_merging_keeps_the_order_of_images():
    rows = [compare([np.array([float(k)])], [np.array([0.0])]) for k in range(4)]
    assert merge(rows).error[:, 0].tolist() == [0.0, 1.0, 4.0, 9.0]


def test_the_memory_layout_of_an_output_changes_nothing():
    rng = np.random.default_rng(3)
    candidate, reference = rng.normal(size=(2, 33, 65)).astype(np.float32)
    plain = compare([candidate], [reference])
    turned = compare([np.asfortranarray(candidate)], [np.asfortranarray(reference)])
    assert all_figures(plain) == all_figures(turned)


def test_sums_are_float64_also_for_small_outputs_far_from_zero():
    reference = np.full(3, 16_777_216, np.float32)
    stats = compare([reference.astype(np.float64) + 1], [reference])
    assert stats.error.tolist() == [[3.0]]


def test_integer_outputs_do_not_wrap_around():
    stats = compare([np.array([0], np.uint8)], [np.array([200], np.uint8)])
    assert stats.error.tolist() == [[40_000.0]]


def test_equal_outputs_have_no_error():
    output = [np.arange(5.0)]
    stats = compare(output, output)
    assert all_figures(stats) == (0.0, math.inf, pytest.approx(1.0))


def test_an_output_that_is_always_zero_and_stays_so_is_perfect():
    stats = zero_output(0.0)
    assert (nmse(stats), cosine(stats)) == (0.0, 1.0)


def test_the_error_of_an_output_that_should_be_zero_is_finite_and_still_ranks():
    small, large = zero_output(0.1), zero_output(0.2)
    assert 0 < nmse(small) < nmse(large) < math.inf
    assert cosine(large) == 0.0


def test_the_error_of_an_output_that_should_be_zero_does_not_grow_with_the_number_of_images():
    one = compare([np.full(4, 0.5)], [np.zeros(4)])
    assert nmse(one) == nmse(merge([one] * 7)) == 1.0


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_a_cosine_never_leaves_its_range_and_ignores_scale(seed, factor):
    rng = np.random.default_rng(seed)
    output = rng.normal(size=7)
    assert cosine(compare([factor * output], [output])) <= 1.0
    assert cosine(compare([-factor * output], [output])) >= -1.0
    assert cosine(compare([factor * output], [output])) == pytest.approx(1.0)


def test_mean_squared_sums_the_means_of_the_outputs():
    error = np.array([[8.0, 3.0], [0.0, 6.0]])
    assert mean_squared(error, np.array([4, 3])).tolist() == [3.0, 2.0]


def test_an_output_without_elements_adds_nothing():
    stats = compare([np.zeros(0), np.ones(2)], [np.zeros(0), np.zeros(2)])
    assert mean_squared(stats.error, np.array([0, 2])).tolist() == [1.0]


def test_a_mean_with_a_value_that_is_not_finite_is_infinite():
    assert mean_over_images(np.array([1.0, math.nan])) == math.inf
    assert mean_over_images(np.array([math.inf, -math.inf])) == math.inf


def test_outputs_of_other_models_cannot_be_compared():
    with pytest.raises(ModelError, match=r"shapes \[\(2,\)\] and \[\(3,\)\]"):
        compare([np.zeros(2)], [np.zeros(3)])
    with pytest.raises(ModelError, match="same outputs"):
        compare([np.zeros(2)], [np.zeros(2), np.zeros(2)])


@pytest.mark.parametrize("figure", [nmse, sqnr_db, cosine])
def test_without_an_image_there_is_no_figure(figure):
    with pytest.raises(DataError, match="no image"):
        figure(ImageStatistics(*[np.zeros((0, 1))] * 4))


def test_nothing_cannot_be_merged():
    with pytest.raises(DataError, match="no image"):
        merge([])


def test_top_k_counts_the_larger_logits():
    logits = np.array([[[0.1, 0.7, 0.2]]])
    assert [top_k(logits, label, 1) for label in range(3)] == [False, True, False]
    assert [top_k(logits, label, 2) for label in range(3)] == [False, True, True]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 12))
def test_exactly_k_labels_are_hits_also_with_ties(values, k):
    logits = np.array(values, np.float32)
    hits = {label for label in range(len(values)) if top_k(logits, label, k)}
    order = sorted(range(len(values)), key=lambda label: (-values[label], label))
    assert hits == set(order[:k])


def test_nan_is_never_a_hit_and_ranks_behind_numbers():
    logits = np.array([math.nan, 1.0])
    assert not top_k(logits, 0, 2)
    assert top_k(logits, 1, 1)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_output_is_refused(label):
    with pytest.raises(DataError, match=f"label {label} does not fit an output of 3 classes"):
        top_k(np.zeros((1, 3)), label, 1)


def test_top_zero_is_refused():
    with pytest.raises(UsageError, match="top-0"):
        top_k(np.zeros(3), 0, 0)
