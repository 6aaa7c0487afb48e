"""A cluster whose second node has too little memory; prints what was said, for test_ray_memory.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from engine_units import Kill, Square
from ray.cluster_utils import Cluster

from distq.engine.ray_pool import RayExecutor
from distq.errors import ExecutionError
from distq.replica.worker import WorkerSettings


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    said: list[str] = []
    try:
        other = cluster.add_node(num_cpus=1)
        with RayExecutor(1, WorkerSettings(), cluster.address, on_event=said.append) as pool:
            list(pool.run([Square(0)]))
            pool._seats[0]._kills = -1  # so that its system has killed a process since
            list(pool.run([Kill(1, seen=Path(sys.argv[1]))]))
        cluster.remove_node(other)
        # what this machine has in use is far above it, so that Ray ends every worker there
        os.environ |= {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "50"}
        cluster.add_node(num_cpus=1)
        try:
            with RayExecutor(1, WorkerSettings(), cluster.address, retries=0) as pool:
                list(pool.run([Square(0)]))
        except ExecutionError as error:
            said.append(str(error))
    finally:
        cluster.shutdown()
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
