"""Depthwise convolutions of uneven numbers of channels stay float where INT8 is predicted to be slower."""

import pytest
from networks import Builder

from distq.graph.placement import make_plan
from distq.graph.predicted import predicted
from distq.graph.settings import Settings
from distq.targets import TARGETS


def blocks(channels, *, size=48, count=3, dense=0):
    """Pointwise and depthwise Convs in turn, behind them so many dense ones."""
    b = Builder(3)
    data = b.node("Relu", b.conv("x", (channels, channels), kernel=1))
    for i in range(count):
        data = b.node(
            "Relu", b.conv(data, (channels, channels), group=channels, kernel=5, output=f"depthwise{i}")
        )
        data = b.conv(data, (channels, channels), kernel=1, output=f"pointwise{i}")
    for _ in range(dense):
        data = b.conv(data, (channels, channels))
    b.conv(data, (channels, 2), kernel=1, output="y")
    return b.model({"x": [1, channels, size, size]}, ["y"])


def kept(load, proto, target="ort", settings=None):
    """Those in float, and what the network is predicted to take, of float's time."""
    loaded = load(proto)
    plan = make_plan(loaded.model, TARGETS[target], "auto", settings=settings or Settings())
    times = predicted(loaded.model, plan)
    uneven = [name for name, why in plan.float_nodes if "no multiple of 16" in why]
    return uneven, None if times is None else times.int8 / times.in_float


def test_they_stay_float_where_that_is_predicted_to_be_faster(load):
    _, before = kept(load, blocks(24), settings=Settings(float_if_faster=False))
    found, after = kept(load, blocks(24))
    assert len(found) == 3
    assert after < before
    assert before > 1


@pytest.mark.parametrize(
    "proto",
    [blocks(32), blocks(24, size=4), blocks(24, dense=8)],
    ids=["32 channels", "tiny", "dense convolutions behind them"],
)
def test_elsewhere_they_run_on_integers(load, proto):
    assert kept(load, proto)[0] == []


def test_other_targets_keep_them(load):
    assert kept(load, blocks(24), "openvino") == ([], None)
