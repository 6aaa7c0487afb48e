"""Every layer and option against what OpenCV 4's Caffe runtime computed (scripts/interop.d/caffe --write)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from caffe_cases import COMPARED
from caffe_networks import Array, numbers, relative_error, sorted_rows

from distq.exchange.caffe.builder import BATCH
from distq.exchange.caffe.convert import load_caffe

HERE = Path(__file__).parent
GOLDEN = np.load(HERE / "golden.npz")
REAL = HERE.parents[3].parent / "shared" / "data" / "caffe"
LARGEST_ERROR = 1e-5


@pytest.mark.parametrize("name", COMPARED)
def test_computes_what_opencv_computes(name: str, tmp_path: Path) -> None:
    case = COMPARED[name]
    model = load_caffe(case.save(tmp_path))
    onnx.checker.check_model(model, full_check=True)
    _require_golden(name, _run(model, case.feeds()))


@pytest.mark.parametrize("name", [name for name in COMPARED if "detection" not in name])
def test_a_batch_is_open_and_its_samples_do_not_meet(name: str, tmp_path: Path) -> None:
    case = COMPARED[name]
    model = load_caffe(case.save(tmp_path))
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input} == {BATCH}
    whole = _run(model, case.feeds())
    first = _run(model, {key: values[:1] for key, values in case.feeds().items()})
    for key, values in first.items():
        assert relative_error(whole[key][:1], values) < 1e-6


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "weights"),
    [("squeezenet_v1.0_deploy", "squeezenet_v1.0"), *((f"mtcnn_det{n}",) * 2 for n in (1, 2, 3))],
)
def test_real_networks_compute_what_opencv_computes(name: str, weights: str) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is missing")
    model = load_caffe(REAL / f"{name}.prototxt", REAL / f"{weights}.caffemodel")
    sizes = [d.dim_value or 2 for d in model.graph.input[0].type.tensor_type.shape.dim]
    _require_golden(name, _run(model, {model.graph.input[0].name: 60 * numbers(sizes, 1)}))


def _require_golden(name: str, outputs: dict[str, Array]) -> None:
    assert outputs
    for key, values in outputs.items():
        assert relative_error(GOLDEN[f"{name}/{key}"], sorted_rows(values)) < LARGEST_ERROR


def _run(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))
