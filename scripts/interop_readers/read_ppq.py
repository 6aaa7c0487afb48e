"""PPQ's own reader of its JSON, which gives ranges to the tensors of a TensorRT network.

TensorRT builds networks on a GPU alone. The tensors here stand in for those of its network: PPQ's function
reads the file and sets their ``dynamic_range``.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import files, version
from types import SimpleNamespace

from common import Case, Rows, row, serve

READER = "ppq/utils/write_qparams_onnx2trt.py"


def reader_of_ppq() -> SimpleNamespace:
    """The module, without the packages that ``import ppq`` wants, and without TensorRT."""
    flags = SimpleNamespace(EXPLICIT_BATCH=0)
    stand_in = SimpleNamespace(Logger=SimpleNamespace, NetworkDefinitionCreationFlag=flags)
    sys.modules["tensorrt"] = stand_in  # type: ignore[assignment]
    (path,) = (file.locate() for file in files("ppq") or () if str(file) == READER)
    spec = importlib.util.spec_from_file_location("ppq_reader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(case: Case) -> Rows:
    """How many tensors got a range, and how far that is from the table's."""
    tensors = [SimpleNamespace(name=name, dynamic_range=None) for name in case.rows]
    layers = [SimpleNamespace(num_outputs=1, get_output=[tensor].__getitem__) for tensor in tensors]
    network = SimpleNamespace(num_inputs=0, num_layers=len(layers), get_layer=layers.__getitem__)
    reader_of_ppq().setDynamicRange(network, str(case.table("ppq")))
    scales = {tensor.name: tensor.dynamic_range[1] / 127 for tensor in tensors if tensor.dynamic_range}
    worst, compared = case.difference(scales, symmetric=True)
    taken = "yes" if compared == len(tensors) else f"{compared} of {len(tensors)} tensors"
    return [row("ppq", f"ppq {version('ppq')}, setDynamicRange", taken, difference=worst, tensors=compared)]


if __name__ == "__main__":
    serve(read)
