"""Measure a quantized network of the zoo against the float one, the same way whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from peers_measure import Outputs, float_outputs, outputs_of
from peers_process import run
from zoo_networks import Network

from distq.search.measures.measure import Facts, Measure, figures
from distq.search.metrics import compare, merge, sqnr_db

HERE = Path(__file__).parent

RUNTIMES = {
    "ort": "ONNX Runtime",
    "simulated": "ONNX Runtime, Q and DQ as written",
    "openvino": "OpenVINO",
}


def measure(
    network: Network, folder: Path, model: Path, *, runtime: str, python: Path, timeout: float
) -> dict[str, float]:
    """``sqnr_db`` over the held-out samples, and ``agreement`` of what people read.

    Args:
        network: whose model it is.
        folder: of its arrays.
        model: to be measured.
        runtime: one of ``RUNTIMES``.
        python: that has OpenVINO.
        timeout: seconds.

    Raises:
        RuntimeError: the model does not run there; why.
    """
    held_out = folder / "held_out.npz"
    if runtime == "openvino":
        out = model.with_name("outputs.npz")
        script = str(HERE / "peers_openvino.py")
        command = list(map(str, (python, script, model, held_out, out)))
        made = run(command, model.with_name("openvino.txt"), timeout)
        if made.status:
            raise RuntimeError(made.reason)
        found = float_outputs(out)
        out.unlink()
    else:
        found = outputs_of(model, held_out, literal=runtime == "simulated")
    return compared(network, found, float_outputs(folder / "held_out.float.npz"))


def compared(network: Network, candidate: Outputs, reference: Outputs) -> dict[str, float]:
    """Figures of the outputs of all samples."""
    ours, theirs = (list(zip(*outputs, strict=True)) for outputs in (candidate, reference))
    statistics = merge([compare(one, other) for one, other in zip(ours, theirs, strict=True)])
    judged = network.judge
    agreement = agreeing(judged, ours, theirs) if isinstance(judged, Measure) else SAME[judged](ours, theirs)
    return {"sqnr_db": sqnr_db(statistics), "agreement": agreement}


Samples = Sequence[Sequence[npt.NDArray[Any]]]


def agreeing(judge: Measure, ours: Samples, theirs: Samples) -> float:
    """Lines equal, or boxes shared, as the measure of distq has it."""
    records = []
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        named = [{str(i): output for i, output in enumerate(outputs)} for outputs in (one, other)]
        record = judge.score(named[0], Facts(index, str(index), {}, float_outputs=named[1]))
        if record is not None:
            records.append(np.asarray(record, np.float64))
    found = figures(judge, records)
    return found.get("shared", next(iter(found.values())))


def _largest(ours: Samples, theirs: Samples) -> float:
    """Samples whose largest value of the first output is in the same place."""
    return float(np.mean([a[0].argmax() == b[0].argmax() for a, b in zip(ours, theirs, strict=True)]))


def _decisions(ours: Samples, theirs: Samples) -> float:
    """Shared yes among all yes of either (over 0.5) of the first output."""
    yes = [np.stack([sample[0] for sample in samples]) > 0.5 for samples in (ours, theirs)]
    either = int((yes[0] | yes[1]).sum())
    return float((yes[0] & yes[1]).sum() / either) if either else 1.0


SAME: dict[str, Callable[[Samples, Samples], float]] = {"largest": _largest, "decisions": _decisions}
"""What is compared where no measure of distq fits."""
