"""How many workers fit on a cluster, and what is said when they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.engine.placement import Booking, Placement, Resources, part, plan
from distq.errors import UsageError

GPU_NODES = [Resources(16, 2), Resources(16, 2)]


@pytest.mark.parametrize(
    ("asked", "nodes", "planned", "booking"),
    [
        ((None, "cpu", 1, None), [Resources(8, 0)], 8, Booking(1, 0)),
        ((3, "cpu", 1, None), [Resources(8, 2)], 3, Booking(1, 0)),
        ((None, "cpu", 4, None), [Resources(10, 0)], 2, Booking(4, 0)),
        ((None, "cpu", 4, None), [Resources(6, 0), Resources(6, 0)], 2, Booking(4, 0)),
        ((None, "cuda", 1, None), GPU_NODES, 4, Booking(1, 1)),
        ((None, "cuda", 1, 0.5), GPU_NODES, 8, Booking(1, 0.5)),
        ((None, "cuda", 6, 0.5), GPU_NODES, 4, Booking(6, 0.5)),
        ((4, "cuda", 1, None), GPU_NODES, 4, Booking(1, 1)),
        ((5, "cuda", 1, None), GPU_NODES, 5, Booking(1, 0.5)),
        ((8, "cuda", 1, None), [Resources(16, 1)], 8, Booking(1, 0.125)),
        ((4, "cuda", 1, None), [Resources(8, 1), Resources(1, 1)], 4, Booking(1, 0.3333)),
        ((2, "cuda:1", 1, None), GPU_NODES, 2, Booking(1, 0)),
    ],
)
def test_workers_are_planned_from_what_each_node_has(asked, nodes, planned, booking):
    assert plan(*asked, nodes) == Placement(planned, booking)


@pytest.mark.parametrize(
    ("gpus", "decoders", "planned"), [(None, 7, 4), (0.5, 7, 4), (0.5, 3, 8), (None, 15, 2)]
)
def test_cpus_that_decode_are_on_the_node_of_their_worker(gpus, decoders, planned):
    placed = plan(None, "cuda", 1, gpus, GPU_NODES, decoders=decoders)
    assert placed == Placement(planned, Booking(1, gpus or 1, decoders))
    assert placed.booking.bundle == {"CPU": 1 + decoders, "GPU": gpus or 1}
    with pytest.raises(UsageError, match=f"a worker of 1 CPU, 16 CPUs to decode and {gpus or 1:g} GPU: "):
        plan(None, "cuda", 1, gpus, GPU_NODES, decoders=16)


@pytest.mark.parametrize(
    ("asked", "nodes", "named", "there", "remedy"),
    [
        ((5, "cpu", 1, None), [Resources(4, 0)],
         "--workers 5 of 1 CPU each", "4 CPUs and 0 GPUs", "ask for at most 4 workers"),
        ((3, "cpu", 4, None), [Resources(2, 0), Resources(9, 0)],
         "--workers 3 of 4 CPUs each", "11 CPUs and 0 GPUs on 2 nodes, at most 9 CPUs and 0 GPUs on one",
         "ask for at most 2 workers"),
        ((2, "cpu", 4, None), [Resources(2, 0)] * 4,
         "--workers 2 of 4 CPUs each", "8 CPUs and 0 GPUs on 4 nodes, at most 2 CPUs and 0 GPUs on one",
         "no node has room for one"),
        ((None, "cpu", 4, None), [Resources(2, 0)],
         "a worker of 4 CPUs", "2 CPUs and 0 GPUs", "no node has room for one"),
        ((5, "cuda", 1, 0.5), [Resources(8, 2)],
         "--workers 5 of 1 CPU and 0.5 GPU each", "8 CPUs and 2 GPUs", "ask for at most 4 workers"),
        ((2, "cuda", 1, None), [Resources(8, 0), Resources(1, 1)],
         "--workers 2 of 1 CPU and 1 GPU each",
         "9 CPUs and 1 GPUs on 2 nodes, at most 8 CPUs and 1 GPUs on one", "ask for at most 1 workers"),
        ((1, "cuda", 1, None), [Resources(4, 0)],
         "--device cuda", "4 CPUs and 0 GPUs", "use --device cpu"),
    ],
)  # fmt: skip
def test_more_than_there_is_is_refused_with_what_was_asked_and_what_there_is(
    asked, nodes, named, there, remedy
):
    with pytest.raises(UsageError) as caught:
        plan(*asked, nodes)
    assert str(caught.value) == f"{named}: the Ray cluster has {there}; {remedy}"
    assert caught.value.exit_code == 2


def test_where_nodes_are_expected_more_may_be_asked_for():
    few = [Resources(2, 0)]
    assert plan(8, "cpu", 4, None, few, may_grow=True) == Placement(8, Booking(4, 0))
    assert plan(8, "cuda", 1, None, few, may_grow=True) == Placement(8, Booking(1, 1))
    assert plan(8, "cuda", 1, 0.25, few, may_grow=True) == Placement(8, Booking(1, 0.25))
    assert plan(None, "cpu", 1, None, few, may_grow=True) == Placement(2, Booking(1, 0))


@given(workers=st.integers(1, 200), gpus=st.lists(st.integers(0, 8), min_size=1, max_size=4))
def test_all_workers_fit_on_the_gpus_and_no_larger_part_would_do(workers, gpus):
    nodes = [Resources(1000, count) for count in gpus]
    if not sum(gpus):
        return
    placed = plan(workers, "cuda", 1, None, nodes)
    assert placed.workers == workers <= placed.booking.room(nodes)
    larger = [part(1 / sharing) for sharing in range(1, 200) if part(1 / sharing) > placed.booking.gpus]
    assert all(Booking(1, gpu).room(nodes) < workers for gpu in larger)


@given(sharing=st.integers(1, 200))
def test_equal_parts_of_a_gpu_fit_in_rays_ten_thousandths(sharing):
    counted = round(part(1 / sharing) * 10_000)
    assert counted == pytest.approx(part(1 / sharing) * 10_000)
    assert counted * sharing <= 10_000
    assert Booking(1, part(1 / sharing)).fit_on(Resources(1000, 1)) >= sharing
