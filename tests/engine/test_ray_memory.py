"""Workers that are killed for memory on another node than the driver's."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_processes import told

SECONDS = 120
STORY = Path(__file__).with_name("memory_cluster.py")
LESS = "take fewer --workers or a smaller --cache-memory"


@pytest.mark.cluster
def test_memory_of_another_node_is_named_as_what_killed_its_worker(tmp_path: Path) -> None:
    by_system, by_ray = told(STORY, str(tmp_path / "seen"), seconds=SECONDS)
    assert f"(the system killed it for memory: {LESS}); again: square of 1" in by_system
    assert f"Ray ended it because its node ran out of memory: {LESS}" in by_ray
