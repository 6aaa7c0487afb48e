import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from replica_helpers import Bench

from distq.replica.counts import CENTRES, ChannelCounts, counts_of

VALUES = arrays(np.float32, (2, 3, 4), elements=st.floats(-50, 50, width=32))


@given(VALUES)
def test_every_value_is_counted_in_the_nearest_bin_of_its_channel(values):
    counts = counts_of(values)
    assert counts.shape == (3, CENTRES.size)
    for channel, row in enumerate(counts):
        wanted = np.sort(np.clip(values[:, channel].ravel(), CENTRES[0], CENTRES[-1]))
        np.testing.assert_allclose(np.repeat(CENTRES, row), wanted, atol=1 / 32)


def test_counts_of_all_samples_are_the_sum_of_each(tmp_path):
    bench = Bench(tmp_path, "detector")
    whole = bench.run(ChannelCounts(bench.float_model, bench.data, (0, 1, 2), (1,)))["0"]
    pieces = [bench.run(ChannelCounts(bench.float_model, bench.data, (i,), (1,)))["0"] for i in range(3)]
    np.testing.assert_array_equal(whole, np.sum(pieces, axis=0))
    assert whole.shape[0] == 80
    assert whole.sum() == 3 * 80 * 7
