"""How much of a network one worker corrects before the driver hears of it."""

from networks import Builder, load

from distq.stages.correct import STAGES_TOGETHER, WORK_TOGETHER, stages_together


def chain(size):
    """64 * 64 * size * size multiplications."""
    b = Builder()
    b.conv("x", (64, 64), kernel=1, output="y")
    return b.model({"x": [1, 64, size, size]}, ["y"])


def test_a_small_network_is_corrected_in_one_unit(tmp_path):
    model = load(tmp_path, chain(8)).model
    assert stages_together(model, range(50), 64) == 50


def test_of_a_large_one_a_unit_has_its_part_of_the_work_and_never_fewer_stages_than_before(tmp_path):
    model = load(tmp_path, chain(64)).model
    images = 3 * WORK_TOGETHER // 64**4
    assert stages_together(model, range(60), images) == 20
    assert stages_together(model, range(60), 100 * images) == STAGES_TOGETHER
