from dataclasses import replace

import numpy as np
import pytest

from distq.graph.site import Site
from distq.quant.channel_factors import Evened
from distq.stages.equalize import promising


def sites(count: int, gain: float, *, depthwise: bool) -> dict[Site, tuple[Evened, tuple[float, ...]]]:
    found = {}
    for number in range(count):
        site = Site((f"t{number}{depthwise}",), ("r",), depthwise, ("w",))
        found[site] = Evened(np.ones(4), 1.0, gain), (1.0,)
    return found


@pytest.mark.parametrize(
    ("depthwise", "others", "forms"),
    [
        ((0, 2.0), (0, 2.0), []),
        ((1, 1.2), (0, 2.0), []),
        ((10, 2.0), (0, 2.0), [10]),
        ((0, 2.0), (10, 2.0), [10]),
        ((10, 2.0), (8, 2.0), [10]),
        ((10, 2.0), (12, 2.0), [10, 22]),
        ((2, 2.0), (0, 2.0), [2]),
        ((2, 2.0), (9, 2.0), [2, 11]),
    ],
)
def test_only_forms_that_promise_enough_are_tried(
    depthwise: tuple[int, float], others: tuple[int, float], forms: list[int]
) -> None:
    found = {**sites(*depthwise, depthwise=True), **sites(*others, depthwise=False)}
    assert [len(form) for form in promising(found, quantizers=50).values()] == forms


def test_factors_that_constants_take_are_tried_first_in_a_transformer() -> None:
    rows = {replace(site, rows=True): factors for site, factors in sites(20, 2.0, depthwise=False).items()}
    inserted = {replace(site, tensors=(f"{site.tensors[0]}g",), writers=()): f for site, f in rows.items()}
    assert [len(form) for form in promising({**rows, **inserted}, quantizers=50).values()] == [20, 40]
    assert [len(form) for form in promising(rows, quantizers=50).values()] == [20]
