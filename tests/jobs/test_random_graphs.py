"""Any small network is quantized as it should be, or refused in one line.

``scripts/fuzz --graphs COUNT`` tries more.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from random_checks import refusal_or_quantized
from random_graphs import Drawn, float_results, random_graphs

from distq.targets import TARGETS

FEW, FEW_TUNED = 40, 8
METHODS = ("auto", "auto", "max", "mse", "kl", "percentile")


@pytest.mark.parametrize(("verb", "few"), [("calibrate", FEW), ("tune", FEW_TUNED)])
def test_a_random_network_is_quantized_or_refused(
    request: pytest.FixtureRequest, verb: str, few: int
) -> None:
    more = request.config.getoption("--graphs")
    counts: Counter[str] = Counter()

    @settings(
        max_examples=few if more is None else max(few, more * few // (FEW + FEW_TUNED)),
        derandomize=more is None,
        phases=[Phase.generate] if more is None else [Phase.generate, Phase.shrink],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=random_graphs, target=st.sampled_from(sorted(TARGETS)), method=st.sampled_from(METHODS))
    def check(drawn: Drawn, target: str, method: str) -> None:
        results = float_results(drawn)
        counts["drawn"] += 1
        assume(results is not None)
        with tempfile.TemporaryDirectory() as folder:
            refused = refusal_or_quantized(drawn, results, Path(folder), target, method=method, verb=verb)
        counts["quantized" if refused is None else "refused"] += 1

    check()
    assert counts["quantized"] > counts["drawn"] / 2
