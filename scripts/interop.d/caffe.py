"""Compare distq's reading of Caffe networks with OpenCV's Caffe runtime, layer by layer and option by option.

OpenCV 5, which distq uses, has no Caffe runtime, so this makes an environment with the last OpenCV 4. It
prints the relative error of each network of tests/helpers/caffe_cases.py, and of real ones:

    scripts/interop.d/caffe [--networks FOLDER] [--write]

``--networks`` takes a folder with NAME.prototxt and NAME.caffemodel. ``--write`` stores what OpenCV computed
as the tests' golden outputs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from caffe_cases import COMPARED  # noqa: E402  # needs the path above
from caffe_networks import numbers, relative_error, sorted_rows  # noqa: E402  # needs the path above

from distq.exchange.caffe.convert import load_caffe  # noqa: E402  # after the one above

OPENCV = "opencv-python-headless==4.14.*"
ENVIRONMENT = Path.home() / ".cache" / "distq-interop" / "caffe"
GOLDEN = ROOT / "tests" / "exchange" / "caffe" / "golden.npz"
LARGEST_ERROR = 1e-5

Outputs = dict[str, NDArray[np.float32]]


def main() -> int:
    """Compare all; the exit code is 1 where one differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours = {name: _of_case(name, folder) for name in COMPARED}
        if options.networks is not None:
            ours |= {
                path.stem: _of_file(path, folder) for path in sorted(options.networks.glob("*.prototxt"))
            }
        subprocess.run(
            [_python(), str(Path(__file__).with_name("caffe_opencv.py")), str(folder)],
            check=True,
            timeout=600,
        )
        theirs = {name: _read(folder / f"{name}.opencv.npz") for name in ours}
    failed = 0
    for name, outputs in ours.items():
        errors = [relative_error(theirs[name].get(key), values) for key, values in outputs.items()]
        failed += not max(errors) < LARGEST_ERROR
        print(f"{max(errors):9.2g}  {name}")
    print(f"{len(ours)} networks, {failed} with a relative error of {LARGEST_ERROR} or more")
    if options.write:
        arrays = {f"{name}/{key}": values for name, found in theirs.items() for key, values in found.items()}
        np.savez_compressed(GOLDEN, **arrays)
    return int(failed > 0)


def _of_case(name: str, folder: Path) -> Outputs:
    case = COMPARED[name]
    return _compute(case.save(folder, name), case.feeds())


def _of_file(path: Path, folder: Path) -> Outputs:
    weights = next(w for w in (path.with_suffix(".caffemodel"), _without_deploy(path)) if w.exists())
    prototxt = Path(shutil.copy(path, folder))
    shutil.copy(weights, prototxt.with_suffix(".caffemodel"))
    inputs = load_caffe(prototxt).graph.input
    shapes = {i.name: [d.dim_value or 2 for d in i.type.tensor_type.shape.dim] for i in inputs}
    return _compute(prototxt, {name: 60 * numbers(shape, 1) for name, shape in shapes.items()})


def _without_deploy(path: Path) -> Path:
    return path.with_name(path.stem.removesuffix("_deploy") + ".caffemodel")


def _compute(prototxt: Path, feeds: Outputs) -> Outputs:
    """Run distq's model, and leave the feeds for OpenCV."""
    session = onnxruntime.InferenceSession(load_caffe(prototxt).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    np.savez(prototxt.with_suffix(".feeds.npz"), outputs=np.array(names), **feeds)
    return {name: sorted_rows(values) for name, values in zip(names, session.run(None, feeds), strict=True)}


def _read(path: Path) -> Outputs:
    return {name: sorted_rows(values) for name, values in np.load(path).items()} if path.exists() else {}


def _python() -> str:
    """The environment's Python; the environment is made where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", OPENCV], check=True)
    return str(python)


if __name__ == "__main__":
    sys.exit(main())
