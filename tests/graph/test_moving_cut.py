import pytest
from networks import Builder
from zoo import NETWORKS

from distq.graph.moving_cut import MovingCut
from distq.graph.subgraph import Network


def test_what_crosses_includes_outputs_that_are_done_and_no_constant():
    b = Builder()
    a = b.node("Mul", "x", b.random(1, name="k"), output="a")
    left, right = b.node("Relu", a, output="b"), b.node("Mul", a, a, output="c")
    b.node("Exp", b.node("Add", left, right, output="d"), output="y")
    b.node("Neg", a, output="e")
    cut = MovingCut(Network(b.model({"x": [1, 4]}, ["y", "e"]).SerializeToString()))
    assert cut.crossing == ("x",)
    cut.move_behind(["c", "e"])
    assert cut.crossing == ("a", "c", "e")
    cut.move_behind(["d", "c", "x"])
    assert cut.crossing == ("d", "e")
    cut.move_behind(["y"])
    assert cut.crossing == ("y", "e")


@pytest.mark.parametrize("name", ["many branches", "two inputs", "four outputs", "detector"])
def test_wherever_it_moves_all_crosses_that_is_read_behind_it(name):
    net = Network(NETWORKS[name]().SerializeToString())
    cut, before = MovingCut(net), set()
    for i, node in enumerate(net.nodes):
        cut.move_behind(node.output)
        before |= net.before(node.output)
        rest = set(range(len(net.nodes))) - before
        done = {o for o in net.outputs if net.producer[o] in before}
        assert set(cut.crossing) == {*net.frontier(rest), *done}, i
