"""A Ray that does not wait whole seconds for itself while it starts."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from typing import Any

from distq.engine.ray_lean import replaced, tried

_CONNECTING = {
    "raylet_client_connect_timeout_milliseconds": 20,  # 1000: the raylet looks for its own store too early
    "raylet_client_num_connect_attempts": 500,  # 10, which is as long in all
    "prestart_worker_first_driver": False,  # the whole driver would wait for workers
}
_LOOK_SECONDS, _MOST_SECONDS = 0.01, 20.0


def settings() -> dict[str, Any]:
    """What Ray is told of itself when it starts; a version that was not tried may not know all names."""
    metrics = {"enable_metrics_collection": False}  # nobody is there to take them
    return {**metrics, **_CONNECTING} if tried() else metrics


@contextlib.contextmanager
def without_long_waits() -> Iterator[None]:
    """Have ``ray.init`` ask for its node once that is there: who asks before is answered after a second."""
    with contextlib.ExitStack() as stack:
        if tried():
            services, state = (
                importlib.import_module(f"ray._private.{name}") for name in ("services", "state")
            )
            ask = services.get_node

            def ask_in_time(address: str, node_id: str) -> Any:  # noqa: ANN401  # Ray's own
                known = state.GlobalState()
                known._initialize_global_state(services._get_gcs_client_options(address))
                latest = time.monotonic() + _MOST_SECONDS
                while time.monotonic() < latest and all(n["NodeID"] != node_id for n in known.node_table()):
                    time.sleep(_LOOK_SECONDS)
                known.disconnect()
                return ask(address, node_id)

            replaced(stack, services, ask.__name__, ask_in_time)
        yield
