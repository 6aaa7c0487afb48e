"""What networks lose of a figure, told by the error of their outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distq.search.expectation import Expectation


def test_what_is_lost_grows_with_the_noise() -> None:
    found = Expectation([0.04], [0.1])
    assert found.loss(0.01) == pytest.approx(0.05)
    assert found.allowed(0.05) == pytest.approx(0.01, rel=0.1)


def test_networks_with_about_as_much_error_tell_most() -> None:
    """One that lost nothing by luck is not believed beside others."""
    found = Expectation([0.04, 0.0105, 0.01, 0.0095], [0.1, 0.05, 0.0, 0.05])
    assert 0.025 < found.loss(0.01) < 0.045
    far = Expectation([1.0, 0.01], [0.0, 0.05])
    assert far.loss(0.01) == pytest.approx(0.05, rel=0.2)


def test_decisions_near_a_tie_turn_as_it_says() -> None:
    """Decisions that have anything to spare, up to 1, and noise of two strengths."""
    random = np.random.default_rng(0)
    spare = random.uniform(0, 1, 20000)
    lost = {sigma: float((random.normal(0, sigma, spare.size) > spare).mean()) for sigma in (0.1, 0.02)}
    assert Expectation([0.1**2], [lost[0.1]]).loss(0.02**2) == pytest.approx(lost[0.02], rel=0.1)


def test_nothing_is_told_without_networks_or_where_nothing_may_be_lost() -> None:
    assert math.isnan(Expectation([], []).loss(0.1))
    assert Expectation([], []).allowed(0.1) is None
    assert Expectation([0.04], [0.1]).allowed(0.0) is None
