"""OpenVINO: distq's QDQ network, as it is read and run; it has no table of its own."""

from __future__ import annotations

import openvino
from common import Case, Rows, row, serve


def read(case: Case) -> Rows:
    """Quantizers that OpenVINO makes of the file, their scales, and its outputs."""
    core = openvino.Core()
    model = core.read_model(case.work / "run" / "model.int8.onnx")
    model.reshape({name: list(values[:1].shape) for name, values in case.heldout.items()})
    fakes = [op for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]
    compiled = core.compile_model(model, "CPU")

    def forward(sample):
        found = compiled(sample)
        return [found[output] for output in compiled.outputs]

    reader = f"openvino {openvino.__version__.split('-')[0]}"
    return [row("model.int8.onnx", reader, "yes", tensors=len(fakes), sqnr=case.sqnr(forward))]


if __name__ == "__main__":
    serve(read)
