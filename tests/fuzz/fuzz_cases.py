"""Damaged files for every reader of files from outside: it may take one, or refuse it with an error of distq.

Run as a program it tries cases of some formats: ``fuzz_cases.py FOLDER FORMAT COUNT [FORMAT COUNT ...]``.
Each case is made from its number alone. It writes ``case FORMAT NUMBER`` before each, so that a crash is
known, and ``done FORMAT`` with a JSON summary behind each format.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import yaml
from damage import Generator, damage_network, mutate, small_network

from distq.calibration.distributions import DistributionSet
from distq.data.caffe_lmdb import LmdbSource
from distq.data.datum import Datum, encode_datum
from distq.data.images import decode_image
from distq.data.input_config_file import read_input_config
from distq.data.preprocess import load_preprocessing
from distq.data.recorded import RecordedSource, Recorder
from distq.data.samples import InputSpec, UnreadableSample
from distq.data.text_list import TextListSource
from distq.engine.journal import Journal
from distq.errors import DistqError
from distq.exchange.caffe.convert import load_caffe
from distq.exchange.caffe.schema import new_message
from distq.exchange.formats import Request
from distq.exchange.registry import read_content
from distq.exchange.table import is_usable
from distq.exchange.text import load_content
from distq.graph.load import load_model
from distq.jobfile import load_job
from distq.quant.table import read_table
from distq.sigmastar.quant_param import read_quant_param

sys.path.append(str(Path(__file__).parents[1] / "exchange"))
from goldens import ORT_FLATBUFFER, SAID  # found by the line above

GOLDENS = {name: said[0] for name, said in SAID.items()} | {"ort": ORT_FLATBUFFER}

CASE_SECONDS = 20
MEMORY_BYTES = 6 << 30
PIXELS = 1 << 22


def _onnx(rng: Generator, folder: Path) -> None:
    model = small_network()
    if rng.integers(0, 2):
        for _ in range(int(rng.integers(1, 3))):
            damage_network(model, rng)
        data = model.SerializeToString()
    else:
        data = mutate(model.SerializeToString(), rng)
    path = folder / "model.onnx"
    path.write_bytes(data)
    load_model(path)


_databases: dict[int, bytes] = {}


def _lmdb_bytes(folder: Path, records: int) -> bytes:
    if records not in _databases:
        place = folder / f"whole{records}"
        environment = lmdb.open(str(place), map_size=1 << 26)
        with environment.begin(write=True) as transaction:
            for number in range(records):
                pixels = np.random.default_rng(number).bytes(12 * (1 + number % 700))
                datum = encode_datum(Datum(3, 2, 2 * (1 + number % 700), pixels, number))
                transaction.put(b"%08d_name" % number, datum)
        environment.close()
        _databases[records] = (place / "data.mdb").read_bytes()
    return _databases[records]


def _lmdb(rng: Generator, folder: Path) -> None:
    data = bytearray(_lmdb_bytes(folder, int(rng.choice([3, 300]))))
    if rng.integers(0, 2):  # inside the header of one page, where it hurts most
        page = 4096 * int(rng.integers(0, len(data) // 4096))
        data[page : page + 200] = mutate(bytes(data[page : page + 200]), rng)[:200].ljust(200, b"\0")
    else:
        data = bytearray(mutate(bytes(data), rng))
    place = folder / "database"
    place.mkdir(exist_ok=True)
    (place / "data.mdb").unlink(missing_ok=True)
    (place / "data.mdb").write_bytes(data)
    source = LmdbSource(place)
    for index in range(len(source)):
        try:
            source.read(index)
        except UnreadableSample:
            continue
        source.name(index)


def _jpeg(rng: Generator, folder: Path) -> None:
    del folder
    extension = str(rng.choice([".jpg", ".jpg", ".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".gif"]))
    pixels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    decode_image(mutate(cv2.imencode(extension, pixels)[1].tobytes(), rng), "case", PIXELS)


def _journal(rng: Generator, folder: Path) -> None:
    path = folder / "journal.jsonl"
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        for number in range(4):
            journal.record_unit(f"unit{number}", "a unit", {"x": np.arange(number)})
            journal.note("layer", name=f"conv{number}", threshold=0.5)
    path.write_bytes(mutate(path.read_bytes(), rng))
    with Journal(path) as journal:
        for number in range(4):
            arrays = journal.get(f"unit{number}")
            if arrays is not None and arrays["x"].tolist() != list(range(number)):
                raise AssertionError("a damaged unit was believed")
        journal.note("after", number=1)
    with Journal(path) as journal:
        if journal.notes("after") != [{"number": 1}]:
            raise AssertionError("the journal lost what was written behind the damage")


_JOB = {"command": "tune", "model": "m.onnx", "data": "d", "out": "r", "samples": 8, "layers": ["a", "b"]}
_STEP = [{"resize": {"height": 8, "width": 8}}, {"mean": [1.0, 2.0]}]
_LAUGHS = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
_SNIPPETS = (
    *("2001-99-99", "9" * 5000, "1e999", "[" * 3000, "{a: " * 3000, "&a [*a]", "!!python/name:os.system"),
    *("!!binary x", "? [1]\n: 2", "\ufeff", "\0", "0x", "0b1", "1_0", ".inf", "null", "- - -", "<<: *a"),
    *("%YAML 9.9\n---", "\x85", _LAUGHS, f"{_LAUGHS}samples: *a11\n", "2001-01-01 99:99:99"),
)


def _yaml(rng: Generator, folder: Path) -> None:
    job = bool(rng.integers(0, 2))
    text = yaml.safe_dump(_JOB if job else {"inputs": {"*": {"steps": _STEP, "layout": "nchw"}}}).encode()
    if rng.integers(0, 2):
        lines = text.split(b"\n")
        snippet = _SNIPPETS[int(rng.integers(0, len(_SNIPPETS)))].encode()
        line = int(rng.integers(0, len(lines)))
        key, colon, _ = lines[line].partition(b": ")
        lines[line] = key + colon + snippet if rng.integers(0, 2) else snippet
        text = b"\n".join(lines)
    else:
        text = mutate(text, rng)
    path = folder / "file.yaml"
    path.write_bytes(text)
    if job:
        load_job(path)
    else:
        load_preprocessing(path)


def _table(rng: Generator, folder: Path) -> None:
    row: dict[str, Any] = {
        "threshold": 1.0,
        "min": -1.0,
        "max": 1.0,
        "observed_min": -2.0,
        "observed_max": 2.0,
    }
    row |= {
        "bits": 8,
        "signed": False,
        "scale": 0.1,
        "zero_point": 128,
        "convention": "T/127",
        "method": "kl",
    }
    text = json.dumps({"format": "distq-thresholds-1", "tensors": {"a": row, "b": row}})
    path = folder / "thresholds.json"
    path.write_bytes(mutate(text.encode(), rng))
    read_table(path)


def _exchange(rng: Generator, folder: Path) -> None:
    """A damaged table of any tool's format, read as what it looks like or as what it was."""
    names = sorted(GOLDENS)
    name = names[int(rng.integers(0, len(names)))]
    path = folder / "table"
    path.write_bytes(mutate(GOLDENS[name], rng))
    content = load_content(path)
    said = (None, name, names[int(rng.integers(0, len(names)))])[int(rng.integers(0, 3))]
    found, table = read_content(content, said)
    if not all(is_usable(entry.threshold) for entry in table.entries.values()):
        raise AssertionError(f"a threshold of {name} is no number above 0")
    found.write(Request(table, table.convention or 127))


def _list(rng: Generator, folder: Path) -> None:
    path = folder / "list.txt"
    path.write_bytes(mutate(b"photos/a.jpg 1\nphotos/b.jpg,c.npy 2 # more\n" * 3, rng))
    source = TextListSource(path, None)
    for index in range(len(source)):
        source.name(index), source.label(index), source.aliases(index)
        try:
            source.read(index)
        except UnreadableSample:
            continue


def _distributions(rng: Generator, folder: Path) -> None:
    path = folder / "distributions.npz"
    DistributionSet({}, {"model": "0" * 64}).save(path)
    path.write_bytes(mutate(path.read_bytes(), rng))
    DistributionSet.load(path)


def _recorded(rng: Generator, folder: Path) -> None:
    recorder = Recorder(folder)
    for number in range(4):
        recorder.add({"x": np.arange(number + 1), "y": np.zeros((2, 3), np.float32)})
    recorder.close()
    path = folder / ("recorded.json" if rng.integers(0, 2) else "00000.npz")
    path.write_bytes(mutate(path.read_bytes(), rng))
    source = RecordedSource(folder, None)
    for index in range(min(len(source), 10)):
        try:
            source.read(index)
        except UnreadableSample:
            continue


_INI = b"""[INPUT_CONFIG]
inputs='a,b';
input_formats=RGB,GRAY;
mean=1:2:3,4;
std_value=1,2;
input_shapes=1,3,8,8:1,1,8,8;
[OUTPUT_CONFIG]
outputs=c;
dequantizations=TRUE;
"""


def _ini(rng: Generator, folder: Path) -> None:
    path = folder / "input_config.ini"
    path.write_bytes(mutate(_INI, rng))
    specs = [InputSpec("a", (1, 3, 8, 8), "float32"), InputSpec("b", (1, 1, 8, 8), "float32")]
    config = read_input_config(path)
    config.remarks()
    config.check(specs, ["c"])
    config.preprocessing(specs)


def _quant_param(rng: Generator, folder: Path) -> None:
    path = folder / "quant.json"
    entry = {"name": "conv1", "min": [-1.0, -2.0], "max": [1.0, 2.0], "bit": 8}
    path.write_bytes(mutate(json.dumps([entry, {**entry, "name": "conv2", "bit": 16}]).encode(), rng))
    read_quant_param(path)


_NETWORK = """input: "data" input_shape { dim: 1 dim: 4 dim: 6 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" batch_norm_param { eps: 0.01 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "s" type: "Slice" bottom: "p" top: "u" top: "v" slice_param { axis: 1 slice_point: 1 } }
layer { name: "j" type: "Concat" bottom: "u" bottom: "v" top: "j" concat_param { axis: 2 } }
layer { name: "r" type: "Reshape" bottom: "j" top: "r" reshape_param { shape { dim: 0 dim: -1 dim: 2 } } }
layer { name: "k" type: "Crop" bottom: "c" bottom: "p" top: "k" crop_param { axis: 2 offset: 1 } }
layer { name: "q" type: "PriorBox" bottom: "p" bottom: "data" top: "q" prior_box_param { min_size: 3 } }
"""
_TOKENS = (
    *("0", "-1", "7", "99999999999999999999", "1e400", "nan", "{", "}", "axis:", '"c"', "layer {"),
    "\0",
)


def _caffe(rng: Generator, folder: Path) -> None:
    net = new_message("WeightsNet")
    for name, shapes in {"c": ((2, 4, 1, 1), (2,)), "b": ((2,), (2,), (1,))}.items():
        layer = net.layer.add(name=name.encode())
        for shape in shapes:
            layer.blobs.add(data=[np.ones(shape, "<f4").tobytes()]).shape.dim.extend(shape)
    text, weights = _NETWORK.encode(), bytes(net.SerializeToString())
    kind = int(rng.integers(0, 3))
    if kind == 0:
        words = _NETWORK.split(" ")
        words[int(rng.integers(0, len(words)))] = str(rng.choice(_TOKENS))
        text = " ".join(words).encode()
    elif kind == 1:
        text = mutate(text, rng)
    else:
        weights = mutate(weights, rng)
    path = folder / "net.prototxt"
    path.write_bytes(text)
    path.with_suffix(".caffemodel").write_bytes(weights)
    load_caffe(path)


CASES: dict[str, Callable[[Generator, Path], None]] = {
    "onnx": _onnx,
    "caffe": _caffe,
    "lmdb": _lmdb,
    "jpeg": _jpeg,
    "journal": _journal,
    "yaml": _yaml,
    "table": _table,
    "exchange": _exchange,
    "list": _list,
    "distributions": _distributions,
    "recorded": _recorded,
    "ini": _ini,
    "quant_param": _quant_param,
}


def _out_of_time(*_: object) -> None:
    raise TimeoutError(f"took over {CASE_SECONDS} s")


def main(folder: Path, formats: list[tuple[str, int]]) -> None:
    """Try cases and write what came of them."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _out_of_time)
    for kind, count in formats:
        place = folder / kind
        place.mkdir()
        sys.stdout.write(f"done {kind} {json.dumps(try_format(kind, count, place))}\n")
        sys.stdout.flush()


def try_format(kind: str, count: int, folder: Path) -> dict[str, Any]:
    taken, refused, wrong = 0, 0, []
    for number in range(count):
        sys.stdout.write(f"case {kind} {number}\n")
        sys.stdout.flush()
        signal.alarm(CASE_SECONDS)
        try:
            CASES[kind](np.random.default_rng([number, *kind.encode()]), folder)
            taken += 1
        except DistqError as error:
            refused += 1
            if "\n" in str(error):
                wrong.append(f"{number}: an error of several lines: {error}")
        except Exception as error:  # noqa: BLE001  # this is what is looked for
            wrong.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
    return {"taken": taken, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [(kind, int(n)) for kind, n in zip(sys.argv[2::2], sys.argv[3::2], strict=True)])
