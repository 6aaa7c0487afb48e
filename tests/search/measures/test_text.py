"""Text of CTC recognizers: what is read, which class is the blank, and what a search lowers."""

from __future__ import annotations

import numpy as np
import pytest

from distq.errors import ModelError, UsageError
from distq.search.measures.measure import Facts, Outputs, figures
from distq.search.measures.text import Text, edits, recognise_text

CLASSES = 5


def steps(*best: int, sure: float = 0.9, axis: int = 0) -> Outputs:
    """Probabilities whose best class is that of each step."""
    rows = np.full((len(best), CLASSES), (1 - sure) / (CLASSES - 1))
    rows[np.arange(len(best)), list(best)] = sure
    return {"steps": np.expand_dims(rows, axis)}


def against(outputs: Outputs) -> Facts:
    return Facts(0, "0", {}, float_outputs=outputs)


FIRST = Text("first")


def test_repetitions_are_one_character_unless_a_blank_parts_them() -> None:
    wanted = against(steps(0, 1, 1, 0, 1, 2, 0))
    for line, errors in (((1, 0, 0, 1, 1, 2, 2), 0), ((1, 1, 1, 1, 1, 2, 0), 1), ((3, 0, 4, 0, 0, 0, 0), 3)):
        found = figures(FIRST, [FIRST.score(steps(*line), wanted)])
        assert found == {"lines": float(errors == 0), "character_error": pytest.approx(errors / 3)}


def test_figures_are_of_all_lines_and_of_all_their_characters() -> None:
    short, long = against(steps(1, 0, 0, 0)), against(steps(1, 2, 3, 4))
    records = [FIRST.score(steps(2, 0, 0, 0), short), FIRST.score(steps(1, 2, 3, 4), long)]
    assert figures(FIRST, records) == {"lines": 0.5, "character_error": pytest.approx(1 / 5)}


def test_edits_are_the_fewest() -> None:
    assert [edits(*pair) for pair in (("kitten", "sitting"), ("", "ab"), ("ab", ""), ("ab", "ba"))] == [
        3,
        2,
        2,
        2,
    ]


def test_the_blank_is_the_outer_class_that_most_steps_fall_to_unless_it_is_named() -> None:
    for best, blank in (((0, 0, 2, 0), "first"), ((4, 1, 4, 4), "last"), ((1, 2, 3, 2), "first")):
        assert recognise_text(list(steps(*best).values()), "").blank == blank
    assert recognise_text(list(steps(0, 0).values()), "last").blank == "last"
    assert figures(Text("last"), [Text("last").score(steps(0, 4), against(steps(4, 0)))])["lines"] == 1


def test_steps_may_come_before_the_batch_and_as_logits() -> None:
    logits = {"steps": np.log(steps(1, 2, axis=1)["steps"]) + 3}
    assert figures(FIRST, [FIRST.score(logits, against(steps(1, 2)))])["lines"] == 1
    assert FIRST.loss(logits, against(steps(1, 2))) == pytest.approx(0, abs=1e-12)


def test_the_search_sees_what_has_not_changed_a_character_yet() -> None:
    wanted = against(steps(1, 2))
    sure, unsure, wrong = (
        FIRST.loss(steps(*b, sure=s), wanted) for b, s in (((1, 2), 0.8), ((1, 2), 0.5), ((1, 3), 0.9))
    )
    assert 0 < sure < unsure < wrong < 1
    assert FIRST.loss({"steps": np.full((1, 2, CLASSES), np.nan)}, wanted) == 1


def test_wrong_use_is_told_in_a_line() -> None:
    with pytest.raises(UsageError, match=r"the first output is 1x7, where text needs steps"):
        recognise_text([np.zeros((1, 7))], "")
    with pytest.raises(UsageError, match=r"--measure text:second: the blank is the first or the last"):
        recognise_text(list(steps(0).values()), "second")
    with pytest.raises(ModelError, match="give it"):
        FIRST.score(steps(0), Facts(0, "0", {}))
