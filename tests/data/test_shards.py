"""Which samples calibrate, tune and are held out."""

from __future__ import annotations

import pickle  # noqa: TID251  # the test shows what travels; nothing foreign is read

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.data.shards import MOST_SHARDS, deal, permutation, select, shard
from distq.engine.portions import portions_for
from distq.errors import DataError


@given(st.integers(1, 2000), st.data(), st.booleans(), st.integers(-(2**63), 2**63))
def test_roles_follow_one_another_and_do_not_overlap(count, data, shuffle, seed):
    samples = data.draw(st.integers(0, count))
    calibrating = samples or count
    tune_samples = data.draw(st.integers(0, calibrating))
    holdout = data.draw(st.none() | st.integers(0, count - calibrating))
    chosen = select(count, samples, tune_samples, holdout, shuffle, seed)
    order = permutation(count, seed).tolist() if shuffle else list(range(count))
    held_out = min(500, count - calibrating) if holdout is None else holdout
    assert list(chosen.calibration) == order[:calibrating]
    assert list(chosen.tuning) == order[:tune_samples]
    assert list(chosen.holdout) == order[calibrating : calibrating + held_out]
    assert not set(chosen.holdout) & set(chosen.calibration)


@given(st.integers(0, 500), st.integers())
def test_a_permutation_holds_every_index_once(count, seed):
    assert sorted(permutation(count, seed)) == list(range(count))


def test_a_seed_gives_the_same_permutation_for_ever():
    assert permutation(10, 0).tolist() == GOLDEN_SEED_0
    assert permutation(10, 1).tolist() != GOLDEN_SEED_0


GOLDEN_SEED_0 = [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_million_samples_stay_compact(shuffle):
    chosen = select(1_000_000, 0, 64, 0, shuffle=shuffle, seed=3)
    assert len(set(chosen.calibration)) == 1_000_000
    pieces = shard(chosen.calibration, 8)
    assert sum(map(len, pieces)) == 1_000_000
    assert len(pieces) == MOST_SHARDS
    bytes_each = 0.1 if not shuffle else 8.2
    assert sum(len(pickle.dumps(piece)) for piece in pieces) < bytes_each * 1_000_000


def test_held_out_samples_may_come_from_a_second_data_set():
    chosen = select(10, 0, 2, None, shuffle=False, seed=0, separate_holdout_count=700)
    assert chosen.calibration == range(10)
    assert chosen.holdout == range(500)
    chosen = select(10, 0, 2, 600, shuffle=True, seed=0, separate_holdout_count=700)
    assert list(chosen.holdout) == permutation(700, 0)[:600].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 128, 64, None), "the data is empty"),
        ((100, 128, 64, None), "128 samples asked for, the data has 100"),
        ((100, 32, 64, None), "64 tuning samples asked for of 32"),
        ((100, 90, 64, 11), "11 held-out samples asked for, 10 left"),
    ],
)
def test_fewer_samples_than_asked_for_names_both_numbers(arguments, message):
    with pytest.raises(DataError, match=message):
        select(*arguments, shuffle=False, seed=0)


def test_an_empty_second_data_set_is_refused():
    with pytest.raises(DataError, match="held-out data is empty"):
        select(10, 0, 1, None, shuffle=False, seed=0, separate_holdout_count=0)


def pieces_of(count, size, multiple):
    """How many there have to be."""
    pieces = -(-count // size)
    if pieces > 1:
        pieces = -(-pieces // multiple) * multiple
    return min(pieces, count, MOST_SHARDS)


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60), st.integers(1, 8))
def test_shards_are_the_indices_in_order_and_balanced(indices, size, multiple):
    pieces = shard(indices, size, multiple)
    lengths = [len(piece) for piece in pieces]
    assert [index for piece in pieces for index in piece] == indices
    assert all(1 <= length <= size for length in lengths)
    assert not lengths or max(lengths) - min(lengths) <= 1
    assert len(pieces) == pieces_of(len(indices), size, multiple)


@pytest.mark.parametrize(("count", "workers", "longest"), [(20, 2, 10), (20, 4, 5), (24, 3, 8), (8, 2, 8)])
def test_workers_have_as_many_samples_each(count, workers, longest):
    lengths = [len(piece) for piece in shard(range(count), 8, portions_for(workers))]
    shares = [sum(lengths[worker::workers]) for worker in range(workers)]
    assert max(shares) == longest


@given(st.integers(1, 10**6), st.integers(1, 64), st.sampled_from([1, 4, 6]))
def test_shards_of_a_range_are_ranges_and_never_more_than_1024(count, size, multiple):
    pieces = shard(range(count), size, multiple)
    assert len(pieces) == pieces_of(count, size, multiple)
    assert all(type(piece) is range and piece.step == 1 for piece in pieces)
    assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
    assert (pieces[0].start, pieces[-1].stop) == (0, count)


@given(st.integers(1, 3000), st.data(), st.booleans(), st.integers(), st.integers(1, 64))
def test_samples_and_seed_choose_the_same_images_however_they_are_cut(count, data, shuffle, seed, size):
    samples = data.draw(st.integers(1, count))
    whole = select(count, 0, 1, 0, shuffle, seed).calibration
    chosen = select(count, samples, 1, 0, shuffle, seed).calibration
    assert [index for piece in shard(chosen, size) for index in piece] == list(whole[:samples])


def test_indices_are_plain_integers():
    assert all(type(index) is int for index in select(5, 0, 1, None, shuffle=True, seed=0).calibration)
    assert permutation(5, 0).dtype == np.int64


@given(count=st.integers(0, 40), hands=st.integers(1, 12))
def test_dealt_out_every_index_is_in_one_hand_and_hands_differ_by_one_at_most(count, hands):
    dealt = deal(range(count), hands)
    assert sorted(i for hand in dealt for i in hand) == list(range(count))
    assert len(dealt) == min(count, hands)
    assert not dealt or max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert [hand[0] for hand in dealt] == list(range(len(dealt)))
