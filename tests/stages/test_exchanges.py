"""Parts of a choice that another, cheaper part may take the place of."""

from __future__ import annotations

import math
from typing import cast

from distq.stages.exchanges import cheaper_choices
from distq.stages.form import Choice
from distq.stages.gains import Gains, Item, less

PRICE = {"a": 0.2, "b": 0.8, "c": 0.01, "d": 0.05}
ERROR = {"a": 2.0, "b": 3.0, "c": 9.0, "d": 1.0}


class Known:
    """Float layers alone, each of a known price; a layer in 8 bits loses its error."""

    items = tuple(Item(float_layers=(name,)) for name in PRICE)
    chain = items[:3]

    def price(self, choice: Choice) -> float:
        return math.fsum(PRICE[name] for name in choice.float_layers)

    def error(self, choice: Choice) -> float:
        return math.fsum(error for name, error in ERROR.items() if name not in choice.float_layers)

    def least_needed(self, choice: Choice) -> list[Item]:
        parts = [Item(float_layers=(name,)) for name in choice.float_layers]
        return sorted(parts, key=lambda item: self.error(less(choice, item)))

    def in_effect(self, choice: Choice) -> Choice:
        return Choice((), tuple(name for name in PRICE if name in choice.float_layers))

    def leaves_int8(self, choice: Choice) -> bool:
        return len(choice.float_layers) < len(PRICE)


def cheaper(choice: Choice, most_error: float) -> list[tuple[str, ...]]:
    return [found.float_layers for found in cheaper_choices(cast("Gains", Known()), choice, most_error)]


def test_a_part_that_is_not_needed_and_one_that_another_is_cheaper_than() -> None:
    assert cheaper(Choice((), ("b", "c")), 3.5) == []
    assert cheaper(Choice((), ("b", "c")), 4.5) == [("a", "c")]
    assert ("c", "d") in cheaper(Choice((), ("b", "c")), 6.0)


def test_the_closest_comes_first_and_nothing_costs_as_much() -> None:
    choice = Choice((), ("a", "b", "c"))
    found = cheaper(choice, 100.0)
    known = Known()
    errors = [known.error(Choice((), one)) for one in found]
    assert errors == sorted(errors)
    assert all(known.price(Choice((), one)) < known.price(choice) for one in found)
    assert len(found) == len({*found})
