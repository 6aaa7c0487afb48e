"""What cannot be used: exit code 2, one line that names the thing and the remedy, nothing changed on disk."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from job_helpers import (
    SAMPLES,
    SHAPE,
    Graph,
    depthwise_network,
    read_json,
    samples,
    tree,
    write_model,
    write_photos,
)

import distq
from distq.cli.app import invoke
from distq.data.datum import Datum, encode_datum

BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 30_000, 20_000) + bytes(9)
BOMB += struct.pack(">I4sI", 0, b"IEND", 0)


def write_lmdb(folder: Path, records: Sequence[bytes]) -> Path:
    environment = lmdb.open(str(folder), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for number, record in enumerate(records):
            transaction.put(b"%08d" % number, record)
    environment.close()
    (folder / "lock.mdb").unlink()
    return folder


@pytest.fixture(scope="module")
def things(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad models, data and files; every test must leave it as it is."""
    place = tmp_path_factory.mktemp("things")
    shutil.copy(model, place / "model.onnx")
    shutil.copy(data, place / "data.npy")
    _write_models(place)
    _write_arrays(place)
    _write_pictures(place)
    (place / "taken").mkdir()
    (place / "taken" / "mine.txt").write_text("mine")
    (place / "empty_run").mkdir()
    distq.calibrate(model=model, data=data, out=place / "run", samples=8, executor="local")
    table = read_json(place / "run" / "thresholds.json")
    for row in table["tensors"].values():
        row["method"] += "+headroom"
    (place / "evened.json").write_text(json.dumps(table))
    os.mkfifo(place / "pipe")
    return place


def _write_models(place: Path) -> None:
    whole = (place / "model.onnx").read_bytes()
    (place / "empty.onnx").write_bytes(b"")
    (place / "text.onnx").write_text("hello")
    (place / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    graph = Graph(0)
    graph.add("Relu", ["x"], "y")
    write_model(place / "relu.onnx", graph.model({"y": (1, *SHAPE)}))
    graph.add("Neg", ["x"], "z")
    write_model(place / "two_outputs.onnx", graph.model({"y": (1, *SHAPE), "z": (1, *SHAPE)}))
    write_model(place / "other.onnx", depthwise_network())
    graph = Graph(0)
    graph.conv("left", (3, 2), "a")
    graph.conv("right", (3, 2), "b")
    graph.add("Add", ["a", "b"], "y")
    inputs = {"left": (1, *SHAPE), "right": (1, *SHAPE)}
    write_model(place / "two_inputs.onnx", graph.model({"y": (1, 2, *SHAPE[1:])}, inputs))
    graph = Graph(0)
    graph.add("Mul", [graph.conv("x", (3, 4), "fine"), graph.constant(3e38)], "huge")
    graph.conv("huge", (4, 2), "y")
    write_model(place / "overflows.onnx", graph.model({"y": (1, 2, *SHAPE[1:])}))


def _write_arrays(place: Path) -> None:
    np.savez(place / "other_name.npz", picture=samples())
    np.save(place / "rank.npy", samples(shape=(8, 8)))
    np.save(place / "size.npy", samples(shape=(3, 9, 8)))
    np.save(place / "complex.npy", samples().astype(np.complex64))
    np.save(place / "pickled.npy", np.array([{}, {}], object), allow_pickle=True)
    np.save(place / "none.npy", samples(0))
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        values = samples()
        values[2, 0, 0, 0] = value
        np.save(place / f"{name}.npy", values)
    (place / "cut.npy").write_bytes((place / "data.npy").read_bytes()[:500])


def _write_pictures(place: Path) -> None:
    (place / "nothing").mkdir()
    (place / "no_lines.txt").write_text("# only a comment\n")
    (place / "too_many.txt").write_text("photos/0.png\nphotos/1.png,photos/2.png 3\n")
    (place / "too_few.txt").write_text("photos/0.png,photos/1.png\nphotos/2.png\n")
    write_photos(place / "photos", 4)
    for name, content in (("bomb", BOMB), ("torn", (place / "photos" / "0.png").read_bytes()[:60])):
        write_photos(place / name, 4)
        (place / name / "2.png").write_bytes(content)
    cv2.imwrite(str(write_photos(place / "large", 2) / "1.png"), np.zeros((9, 9, 3), np.uint8))
    pixels = encode_datum(Datum(3, 8, 8, bytes(192), None))
    cut = write_lmdb(place / "cut_lmdb", [pixels] * 40) / "data.mdb"
    os.truncate(cut, cut.stat().st_size - 4096)
    write_lmdb(place / "foreign_lmdb", [b"hello" * 30] * 4)
    (place / "no_lmdb").mkdir()
    (place / "no_lmdb" / "data.mdb").write_bytes(b"no database" * 2000)


@dataclass(frozen=True)
class Bad:
    """One bad command line.

    ``{}`` in an argument is the folder of things; the message must hold each of ``names``.
    """

    arguments: str
    names: tuple[str, ...]
    model: str = "{}/model.onnx"
    out: str = "{}/new_run"
    verb: str = "tune"


DATA = "--data {}/data.npy"

CASES = {
    # the model
    "missing model": Bad(DATA, ("none.onnx", "No such file"), model="{}/none.onnx"),
    "model is a folder": Bad(DATA, ("things", "it is a folder"), model="{}"),
    "empty model": Bad(DATA, ("empty.onnx", "export it again"), model="{}/empty.onnx"),
    "model is text": Bad(DATA, ("text.onnx", "export it again"), model="{}/text.onnx"),
    "model is cut": Bad(DATA, ("cut.onnx", "export it again"), model="{}/cut.onnx"),
    "quantized already": Bad(
        DATA, ("model.int8.onnx", "give the float model"), model="{}/run/model.int8.onnx"
    ),
    "no layer to quantize": Bad(DATA, ("no Conv",), model="{}/relu.onnx"),
    "unknown layer": Bad(f"{DATA} --layers secnd", ("--layers", "secnd", "the nearest is second")),
    "unknown ignored layer": Bad(
        f"{DATA} --ignore-layers frist", ("--ignore-layers", "frist", "nearest is first")
    ),
    "nothing to tune": Bad(
        f"{DATA} --layers first --ignore-layers first", ("--ignore-layers leaves none of --layers",)
    ),
    "unknown wide layer": Bad(
        f"{DATA} --int16-layers score", ("--int16-layers", "score", "nearest is scores")
    ),
    # the data against the model
    "input name": Bad(
        "--data {}/other_name.npz", ("other_name.npz", "picture", "inputs are x", "under its name")
    ),
    "input rank": Bad("--data {}/rank.npy", ("'x'", "sample 0", "8x8", "takes 3x8x8", "give arrays")),
    "input size": Bad("--data {}/size.npy", ("'x'", "sample 0", "3x9x8", "takes 3x8x8", "give arrays")),
    "input dtype": Bad("--data {}/complex.npy", ("'x'", "complex64", "takes float32", "convert the data")),
    "image size": Bad("--data {}/large", ("'x'", "1.png", "3x9x9", "takes 3x8x8", "--preprocess")),
    "one array for two inputs": Bad(DATA, ("data.npy", "left, right", "npz"), model="{}/two_inputs.onnx"),
    # the data itself
    "no data given": Bad("", ("--data is missing",)),
    "missing data": Bad("--data {}/nowhere", ("nowhere does not exist", "give a folder")),
    "pickled data": Bad("--data {}/pickled.npy", ("pickled.npy", "save it again")),
    "cut array": Bad("--data {}/cut.npy", ("cut.npy", "save it again")),
    "unreadable image": Bad("--data {}/torn", ("torn/2.png is truncated", "--skip-bad 1")),
    "image over the pixel limit": Bad(
        "--data {}/bomb", ("bomb/2.png", "30000x20000", "limit", "--skip-bad 1")
    ),
    "empty folder": Bad("--data {}/nothing", ("nothing is empty", "give at least one sample")),
    "empty list": Bad("--data {}/no_lines.txt", ("no_lines.txt is empty", "give at least one sample")),
    "empty array": Bad("--data {}/none.npy", ("none.npy is empty", "give at least one sample")),
    "fewer samples than asked": Bad(f"{DATA} --samples 13", ("13 samples", "has 12", "--samples 12")),
    "fewer tuning samples": Bad(f"{DATA} --tune-samples 13", ("13 tuning samples", "--tune-samples 12")),
    "fewer held-out samples": Bad(f"{DATA} --samples 8 --holdout 5", ("5 held-out", "4 left", "--holdout 4")),
    "truncated LMDB": Bad("--data {}/cut_lmdb", ("cut_lmdb", "truncated", "copy it again")),
    "LMDB of something else": Bad(
        "--data {}/foreign_lmdb", ("foreign_lmdb", "no Caffe records", "dataset build")
    ),
    "no LMDB": Bad("--data {}/no_lmdb", ("no_lmdb", "no LMDB", "copy it again")),
    "too many inputs in a line": Bad(
        "--data {}/too_many.txt", ("too_many.txt line 2", "2 inputs", "separate them")
    ),
    "too few inputs in a line": Bad(
        "--data {}/too_few.txt",
        ("too_few.txt line 2", "1 inputs", "separate them"),
        model="{}/two_inputs.onnx",
    ),
    "NaN in the data": Bad("--data {}/nan.npy", ("'x'", "sample 2", "NaN", "allow some with --skip-bad 1")),
    "inf in the data": Bad("--data {}/inf.npy", ("'x'", "sample 2", "inf", "allow some with --skip-bad 1")),
    "inf in an activation": Bad(
        DATA, ("tensor huge", "NaN or inf on 0", "mend the model"), model="{}/overflows.onnx"
    ),
    # options
    "bins": Bad(f"{DATA} --bins 2000", ("--bins 2000", "multiple of 128", "--bins 2048")),
    "many bins": Bad(f"{DATA} --bins 1280000000", ("--bins 1280000000", "over the limit", "--bins 2048")),
    "few bins": Bad(f"{DATA} --bins 100", ("--bins 100", "greater than or equal to 128")),
    "no such method": Bad(f"{DATA} --method entropy", ("--method", "kl")),
    "no CUDA": Bad(f"{DATA} --device cuda", ("--device cuda", "no CUDA device", "--device cpu")),
    "no such CUDA device": Bad(f"{DATA} --device cuda:7", ("--device cuda:7", "--device cpu")),
    "RUN exists": Bad(DATA, ("taken exists and is no folder of a run", "give another --out"), out="{}/taken"),
    "a finished RUN exists": Bad(DATA, ("run exists", "give another --out, or --resume"), out="{}/run"),
    "RUN is a file": Bad(DATA, ("data.npy exists", "give another --out"), out="{}/data.npy"),
    "RUN is below a file": Bad(DATA, ("cannot be made", "give another --out"), out="{}/data.npy/run"),
    "RUN is no run": Bad(f"{DATA} --resume", ("not a run of distq", "give another --out"), out="{}/taken"),
    "RUN of another job": Bad(
        f"{DATA} --resume", ("holds another job", "command", "give another --out"), out="{}/run"
    ),
    "bad data in an empty RUN": Bad("--data {}/nan.npy", ("NaN",), out="{}/empty_run"),
    # files of distq
    "missing table": Bad(f"{DATA} --table {{}}/none.json", ("none.json", "No such file")),
    "no table": Bad(f"{DATA} --table {{}}/too_many.txt", ("too_many.txt", "not a threshold table")),
    "table of another model": Bad(
        f"{DATA} --table {{}}/run/thresholds.json", ("no row for", "one of this model"), model="{}/other.onnx"
    ),
    "no distributions": Bad(f"{DATA} --load-dist {{}}/too_many.txt", ("too_many.txt", "--dump-dist")),
    "distributions of other samples": Bad(
        f"{DATA} --samples 7 --load-dist {{}}/run/distributions.npz", ("data set", "--dump-dist")
    ),
    "nowhere to dump": Bad(
        f"{DATA} --dump-dist {{}}/nowhere/d.npz", ("nowhere/d.npz", "in a folder that exists")
    ),
    "dump over another file": Bad(
        f"{DATA} --dump-dist {{}}/too_many.txt", ("too_many.txt", "holds no distributions: give another file")
    ),
    "table of evened channels": Bad(
        f"{DATA} --table {{}}/evened.json", ("evened.json", "evened out", "--no-equalize")
    ),
    "pipe as model": Bad(DATA, ("pipe", "a named pipe"), model="{}/pipe"),
    "pipe as table": Bad(f"{DATA} --table {{}}/pipe", ("pipe", "a named pipe")),
    "pipe as distributions": Bad(f"{DATA} --load-dist {{}}/pipe", ("pipe", "a named pipe")),
    "labels without label": Bad(f"{DATA} --labels {{}}/too_many.txt", ("too_many.txt line 1", "name label")),
    "preprocessing": Bad(f"{DATA} --preprocess {{}}/too_many.txt", ("too_many.txt", ".yaml")),
    # eval
    "eval of a missing model": Bad(DATA, ("none.onnx", "No such file"), model="{}/none.onnx", verb="eval"),
    "eval on data of another size": Bad("--data {}/size.npy", ("'x'", "3x9x8", "takes 3x8x8"), verb="eval"),
    "eval on too few samples": Bad(f"{DATA} --samples 13", ("13 samples", "--samples 12"), verb="eval"),
    "eval of an unreadable image": Bad("--data {}/torn", ("torn/2.png", "--skip-bad 1"), verb="eval"),
    "eval against other inputs": Bad(
        f"{DATA} --against {{}}/two_inputs.onnx", ("takes x", "takes left", "same inputs"), verb="eval"
    ),
    "eval against other outputs": Bad(
        f"{DATA} --against {{}}/relu.onnx", ("(1, 6)", "(1, 3, 8, 8)", "same outputs"), verb="eval"
    ),
    "eval against more outputs": Bad(
        f"{DATA} --against {{}}/two_outputs.onnx",
        ("has 1 outputs", "two_outputs.onnx has 2", "same outputs"),
        verb="eval",
    ),
    "eval without CUDA": Bad(f"{DATA} --device cuda", ("--device cuda", "--device cpu"), verb="eval"),
}


def command(bad: Bad, things: Path) -> list[str]:
    options = [*bad.arguments.split(), "--executor", "local", "--quiet"]
    out = [] if bad.verb == "eval" else ["--out", bad.out]
    return [argument.replace("{}", str(things)) for argument in (bad.verb, bad.model, *options, *out)]


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES)
def test_it_exits_2_with_one_line_and_changes_nothing(
    bad: Bad, things: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "distq.replica.session.onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"]
    )
    before = tree(things)
    assert invoke(command(bad, things)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("distq: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for name in bad.names:
        assert name in err
    assert tree(things) == before


def test_progress_comes_before_the_line_and_not_instead(
    things: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(CASES["unreadable image"], things)
    assert invoke([*arguments[: arguments.index("--quiet")], "--out", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("calibrate: ")
    assert [line for line in lines if line.startswith("distq: ")] == lines[-1:]


def test_numbers_that_the_user_did_not_give_shrink_to_the_data(things: Path, tmp_path: Path) -> None:
    line = ["tune", str(things / "model.onnx"), "--data", str(things / "data.npy"), "--executor", "local"]
    assert invoke([*line, "--quiet", "--out", str(tmp_path / "run"), "--layers", "scores"]) == 0
    assert read_json(tmp_path / "run" / "metrics.json")["tuning"]["images"] == SAMPLES


@pytest.mark.parametrize("skip", [1, 2])
def test_skip_bad_lets_so_many_pass(skip: int, things: Path, tmp_path: Path) -> None:
    line = ["calibrate", str(things / "model.onnx"), "--data", str(things / "bomb"), "--executor", "local"]
    arguments = [*line, "--quiet", "--out", str(tmp_path / "run"), "--skip-bad", str(skip)]
    assert invoke(arguments) == 0
    assert (tmp_path / "run" / "model.int8.onnx").is_file()


def job_file(things: Path, tmp_path: Path, **values: str) -> list[str]:
    path = tmp_path / "job.yaml"
    given = {"command": "tune", "model": str(things / "model.onnx"), "out": str(tmp_path / "run"), **values}
    path.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
    return ["run", str(path), "--executor", "local", "--quiet"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"data": "{}/data.npy", "samples": "13"}, "--samples 12"),
        ({"data": "{}/nan.npy"}, "sample 2 holds NaN"),
        ({"data": "{}/data.npy", "smaples": "3"}, "samples"),
        ({"data": "!!python/object/apply:os.system [exit]"}, "job.yaml"),
    ],
)
def test_a_job_file_is_refused_the_same_way(
    values: dict[str, str], named: str, things: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {key: value.replace("{}", str(things)) for key, value in values.items()}
    assert invoke(job_file(things, tmp_path, **given)) == 2
    err = capsys.readouterr().err
    assert named in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
