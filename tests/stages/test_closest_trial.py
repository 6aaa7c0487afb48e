"""Which network ``auto`` takes where none meets the goal."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from budget_networks import one_wide_tensor
from job_helpers import samples, write_model

import distq
from distq.graph.network_cost import NetworkCost
from distq.run.auto_report import AutoReport
from distq.stages.candidates import Made
from distq.stages.trial import Trial, as_good

LAYERS = ("a", "wide", "c", "y")


def _trial(losses: list[float] | None, loss: float = 0.0) -> Trial:
    given = None if losses is None else np.array(losses)
    found = loss if given is None else float(given.mean())
    made = cast("Made", None)
    return Trial(made, NetworkCost((), (), 0.0), found, samples=8, dropped=False, met=False, losses=given)


def test_networks_are_equal_where_their_samples_do_not_tell_them_apart() -> None:
    noise = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    best = _trial([5.0] * 8)
    assert as_good(_trial([5.1 + x for x in noise]), best)
    assert not as_good(_trial([5.1 + 0.01 * x for x in noise]), best)
    assert as_good(best, best)


def test_a_figure_without_losses_of_samples_has_equals_of_the_same_figure_alone() -> None:
    assert as_good(_trial(None, 0.2), _trial(None, 0.2))
    assert not as_good(_trial(None, 0.21), _trial(None, 0.2))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closest")
    write_model(folder / "wide.onnx", one_wide_tensor())
    np.save(folder / "data.npy", samples(48))
    return folder


def _auto(place: Path, out: str, **options: Any) -> AutoReport:
    found = distq.auto(
        model=place / "wide.onnx",
        data=place / "data.npy",
        out=place / out,
        goal="sqnr:150",
        samples=48,
        method="max",
        equalize=False,
        effort=1,
        executor="local",
        **options,
    ).auto
    assert found is not None
    assert not found.reached
    return found


def test_out_of_reach_the_answer_is_that_of_trying_every_choice_of_float_layers(place: Path) -> None:
    """On all samples: what was given up on the first 32 and is closest is measured on the others as well."""
    sets = [s for count in (1, 2, 3) for s in itertools.combinations(LAYERS, count)]
    every = _auto(place, "every", target="tensorrt", tries=[f"float-layers={','.join(s)}" for s in sets])
    found = _auto(place, "found", target="tensorrt")
    assert len(found.tried) < len(every.tried) / 2
    assert found.answer.samples == every.answer.samples == 48
    assert found.answer.float_layers == every.answer.float_layers
    assert found.answer.reading == every.answer.reading


def test_each_network_is_tried_once_whatever_order_its_parts_were_chosen_in(place: Path) -> None:
    found = _auto(place, "ort", target="ort")
    parts = [(frozenset(n.float_layers), str(n.options.get("int16_layers")), n.searched) for n in found.tried]
    assert len(parts) == len({*parts})
    assert found.answer.samples == 48
