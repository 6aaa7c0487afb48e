"""A cluster of several nodes, some of which join while a job runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_processes import told

SECONDS = 120
STORY = Path(__file__).with_name("growing_cluster.py")


@pytest.mark.cluster
def test_nodes_that_join_while_a_job_runs_are_used(tmp_path: Path) -> None:
    seen = told(STORY, seconds=SECONDS, HOME=str(tmp_path))
    assert seen["growing"] == [1, 2, 3, ["the Ray cluster has grown: 2 more workers, 3 in all"]]
    there = "the Ray cluster has 3 CPUs and 0 GPUs on 2 nodes, at most 2 CPUs and 0 GPUs on one"
    assert seen["refused"] == [
        f"--workers 4 of 1 CPU each: {there}; ask for at most 3 workers",
        f"a worker of 3 CPUs: {there}; no node has room for one",
    ]
    assert seen["waiting"] == [4, 3]
    assert seen["automatic"] == ["cpu", 5], "the node's GPU is of no use to this ONNX Runtime"
    there = "the Ray cluster has 5 CPUs and 1 GPUs on 3 nodes, at most 2 CPUs and 1 GPUs on one"
    refused = f"a worker of 1 CPU, 2 CPUs to decode and 1 GPU: {there}; no node has room for one"
    assert seen["decoding"] == [1, 1, True, refused]
