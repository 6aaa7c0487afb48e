"""A cluster that gets nodes while units run; prints what was seen as JSON. Run by test_ray_growth.py."""

from __future__ import annotations

import json
import sys
from typing import Any

from engine_units import DecoderNodes, Where
from ray.cluster_utils import Cluster

from distq.engine import ray_pool
from distq.engine.ray_pool import RayExecutor
from distq.errors import UsageError
from distq.replica.worker import WorkerSettings

ray_pool._LOOK_SECONDS = 0.2  # a test need not wait longer
UNITS = 2000  # more than are run before a node is there


def nodes_used(pool: RayExecutor, cluster: Cluster, wanted: int, **more: int) -> int:
    """Run units, add a node when the first is done, and go on until so many nodes were used."""
    units = pool.run([Where(number, seconds=0.05) for number in range(UNITS)])
    nodes = {str(next(units)[1]["node"])}
    cluster.add_node(**more)
    for _, arrays in units:
        nodes.add(str(arrays["node"]))
        if len(nodes) == wanted:
            break
    return len(nodes)


def refusal(address: str, workers: int | None, cpus: int) -> str:
    """What is said of workers that do not fit."""
    try:
        RayExecutor(workers, WorkerSettings(), address, cpus=cpus).close()
    except UsageError as error:
        return str(error)
    return "not refused"


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    seen: dict[str, Any] = {}
    try:
        events: list[str] = []
        with RayExecutor(None, WorkerSettings(), cluster.address, on_event=events.append) as growing:
            before = growing.workers
            seen["growing"] = [before, nodes_used(growing, cluster, 2, num_cpus=2), growing.workers, events]
        seen["refused"] = [refusal(cluster.address, 4, 1), refusal(cluster.address, None, 3)]
        with RayExecutor(4, WorkerSettings(), cluster.address, wait_seconds=60) as waiting:
            seen["waiting"] = [waiting.workers, nodes_used(waiting, cluster, 3, num_cpus=2, num_gpus=1)]
        with RayExecutor(None, WorkerSettings("auto"), cluster.address) as automatic:
            seen["automatic"] = [automatic.device, automatic.workers]
        with RayExecutor(None, WorkerSettings("cuda", decode_actors=1), cluster.address) as beside:
            [(_, arrays)] = beside.run([DecoderNodes(0)])
            seen["decoding"] = [
                beside.workers,
                int(arrays["gpus"]),
                arrays["decoders"].tolist() == [arrays["node"]],
            ]
        try:
            RayExecutor(None, WorkerSettings("cuda", decode_actors=2), cluster.address)
        except UsageError as error:
            seen["decoding"].append(str(error))
    finally:
        cluster.shutdown()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
