"""Which parts of a network are measured on more samples than the first."""

from __future__ import annotations

from distq.stages.sensitivity import DECISIVE, LEAST_DECISIVE, _decisive


def test_the_largest_that_are_most_of_the_error() -> None:
    errors = [1.0] * 100 + [0.001] * 400
    found = _decisive(errors)
    assert set(found) <= set(range(100))
    assert sum(errors[i] for i in found) >= DECISIVE * sum(errors)


def test_of_few_parts_all() -> None:
    assert _decisive([5.0, *[0.0] * (LEAST_DECISIVE - 1)]) == list(range(LEAST_DECISIVE))
