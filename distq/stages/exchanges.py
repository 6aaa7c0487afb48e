"""Choices that cost less than one that is known to do, and lose about as much by estimate.

The order in which parts are chosen is greedy: what gained most for its cost early may be worth less beside
what came later, as where a layer in float takes the place of a tensor in 16 bits and another layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from distq.stages.form import Choice
from distq.stages.gains import Gains, Item, less

TAKEN, ADDED = 12, 24
"""Parts looked at: the least needed of those chosen, and the best of the others."""

SAVED = 0.02
"""Part of the cost that an exchange saves at least."""


def cheaper_choices(gains: Gains, choice: Choice, most_error: float) -> Iterator[Choice]:
    """Choices with one or two parts less, and perhaps another in their place; by estimate the closest first.

    Args:
        gains: what each part gains and costs.
        choice: that meets the goal and is to be made cheaper.
        most_error: that they may have by estimate.
    """
    most = (1 - SAVED) * gains.price(choice)
    parts = gains.least_needed(choice)[:TAKEN]
    known = dict.fromkeys((*gains.chain, *gains.items))
    others = [item for item in known if not _within(item, choice)][:ADDED]
    taken = [*itertools.combinations(parts, 1), *itertools.combinations(parts, 2)]
    found: dict[Choice, float] = {}
    for items in taken:
        fewer = choice
        for item in items:
            fewer = less(fewer, item)
        for made in (fewer, *(_more(fewer, item) for item in others)):
            if gains.price(made) >= most or not made or not gains.leaves_int8(made):
                continue
            estimate = gains.error(made)
            if estimate <= most_error:
                found[made] = estimate
    order = sorted(found, key=lambda one: (found[one], gains.price(one)))
    return map(gains.in_effect, order)


def _within(item: Item, choice: Choice) -> bool:
    return {*item.int16} <= {*choice.int16} and {*item.float_layers} <= {*choice.float_layers}


def _more(choice: Choice, item: Item) -> Choice:
    return Choice(
        tuple(dict.fromkeys((*choice.int16, *item.int16))),
        tuple(dict.fromkeys((*choice.float_layers, *item.float_layers))),
    )
