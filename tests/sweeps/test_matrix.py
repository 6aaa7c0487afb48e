"""Sweep files."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.config import CalibrateOptions, TuneOptions
from distq.errors import UsageError
from distq.sweeps.matrix import by_network, load_sweep

COMMON = "command: calibrate\nmodel: m.onnx\ndata: d.npy\nout: o\n"
METHODS = "matrix:\n  method: [kl, mse]\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def names(sweep):
    return [run.name for run in sweep.runs]


def test_every_combination_is_a_run_with_paths_from_the_files_folder(write, tmp_path):
    sweep = load_sweep(write(COMMON + METHODS + "  scheme: [auto, symmetric]\nsamples: 8\n"))
    assert names(sweep) == ["kl-auto", "kl-symmetric", "mse-auto", "mse-symmetric"]
    assert sweep.out == tmp_path / "o"
    assert sweep.runs[1].options == CalibrateOptions(
        model=tmp_path / "m.onnx",
        data=tmp_path / "d.npy",
        out=tmp_path / "o/kl-symmetric",
        samples=8,
        method="kl",
        scheme="symmetric",
    )
    assert sweep.runs[1].varied == {"method": "kl", "scheme": "symmetric"}


def test_options_that_go_together_are_one_value_of_an_axis(write, tmp_path):
    text = (
        "command: tune\nout: o\nsamples: 8\nmatrix:\n  network:\n"
        "    - {model: a.onnx, data: a.npy, samples: 4}\n    - {model: b.onnx, data: b.npy, name: other}\n"
        "  effort: [1, 2]\n"
    )
    sweep = load_sweep(write(text))
    assert names(sweep) == ["a-1", "a-2", "other-1", "other-2"]
    assert [run.options.samples for run in sweep.runs] == [4, 4, 8, 8]
    assert isinstance(sweep.runs[3].options, TuneOptions)
    assert (sweep.runs[3].options.data, sweep.runs[3].options.effort) == (tmp_path / "b.npy", 2)


def test_switches_are_turned_off_by_the_name_of_the_command_line(write):
    text = COMMON + "no_channel_scales: true\nmatrix:\n  no_bias_correction: [false, true]\n"
    options = [run.options for run in load_sweep(write(text)).runs]
    assert [(one.bias_correction, one.channel_scales) for one in options] == [(True, False), (False, False)]


def test_settings_by_layer_are_options_like_others(write, tmp_path):
    text = COMMON + "input_shape: {x: [1, 3, 8, 8]}\nlayer_config: l.yaml\nmatrix:\n  conv_groups: [2, 4]\n"
    sweep = load_sweep(write(text + "  float_layers: ['', 'a,b']\n"))
    assert len(sweep.runs) == 4
    options = sweep.runs[3].options
    assert (options.conv_groups, options.float_layers) == (4, ("a", "b"))
    assert options.input_shape == (("x", (1, 3, 8, 8)),)
    assert options.layer_config == tmp_path / "l.yaml"
    assert [len(runs) for runs in by_network(sweep.runs)] == [4]


def test_the_command_may_differ_between_runs(write):
    text = "model: m.onnx\ndata: d.npy\nout: o\nmatrix: {command: [calibrate, tune]}\n"
    assert [type(run.options) for run in load_sweep(write(text)).runs] == [CalibrateOptions, TuneOptions]


def test_excluded_combinations_are_left_out_and_included_runs_added(write):
    text = (
        COMMON + METHODS + "  scheme: [auto, symmetric]\nexclude:\n  - {method: kl, scheme: symmetric}\n"
        "  - {method: [mse], scheme: auto}\ninclude:\n  - {method: max, name: widest}\n  - {command: tune}\n"
    )
    sweep = load_sweep(write(text))
    assert names(sweep) == ["kl-auto", "mse-symmetric", "widest", "tune"]
    assert sweep.runs[2].options.method == "max"


def test_an_axis_is_excluded_by_its_own_name(write):
    text = (
        "command: calibrate\nout: o\nmatrix:\n  network:\n    - {model: a.onnx, data: d.npy}\n"
        "    - {model: b.onnx, data: d.npy}\n  method: [kl, mse]\nexclude:\n  - {network: b, method: kl}\n"
    )
    assert names(load_sweep(write(text))) == ["a-kl", "a-mse", "b-mse"]


def test_paths_are_told_by_their_last_part(write):
    text = "command: calibrate\nmodel: m.onnx\nout: o\nmatrix: {data: [d.npy, sets/v1.2, /photos/list.txt]}\n"
    assert names(load_sweep(write(text))) == ["d", "v1.2", "list"]


def test_equal_names_get_numbers(write):
    text = "command: calibrate\ndata: d.npy\nout: o\nmatrix: {model: [x/m.onnx, y/m.onnx]}\n"
    assert names(load_sweep(write(text))) == ["m", "m-2"]


def test_no_run_has_the_name_of_a_file_of_the_sweep(write):
    text = "command: calibrate\ndata: d.npy\nout: o\nmatrix: {model: [x/parts.onnx, y/parts-2.onnx]}\n"
    assert names(load_sweep(write(text))) == ["parts-2", "parts-2-2"]


def test_where_it_runs_is_one_for_all_and_can_be_replaced(write, tmp_path):
    path = write(COMMON + METHODS + "executor: local\nworkers: 3\n")
    sweep = load_sweep(path, {"workers": 2, "out": tmp_path / "elsewhere"})
    assert (sweep.place.executor, sweep.place.workers) == ("local", 2)
    assert {(run.options.executor, run.options.workers) for run in sweep.runs} == {("local", 2)}
    assert sweep.runs[0].options.out == tmp_path / "elsewhere/kl"


def test_a_mapping_starts_at_the_current_folder():
    content = {
        "command": "calibrate",
        "model": "m.onnx",
        "data": "d.npy",
        "out": "o",
        "matrix": {"bins": [128]},
    }
    (run,) = load_sweep(content).runs
    assert (run.options.model, run.options.out, run.options.bins) == (Path("m.onnx"), Path("o/128"), 128)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COMMON, "there is no run: give a matrix or include"),
        (COMMON + METHODS + "matrx: {}\n", "unknown key matrx: did you mean matrix?"),
        (COMMON + "matrix:\n  metod: [kl]\n", "matrix: unknown option metod: did you mean method?"),
        (COMMON + "matrix:\n  method: kl\n", "matrix: method is a list of values"),
        (COMMON + "matrix:\n  method: []\n", "matrix: method is a list of values"),
        (COMMON + "matrix: [kl]\n", "matrix is a mapping of options to lists of values"),
        (
            COMMON + "matrix:\n  method: [best]\n",
            "run best: method best: input should be 'auto', 'max'",
        ),
        (COMMON + "matrix:\n  workers: [1, 2]\n", "matrix: workers is one for the whole sweep"),
        (COMMON + "matrix:\n  effort: [1]\n", "run 1: unknown option effort"),
        (COMMON + "matrix:\n  net: [{modl: a}]\n", "matrix: net: unknown option modl: did you mean model?"),
        (COMMON + "matrix:\n  net: [{model: a}, b]\n", "matrix: net: 'b' is not a mapping of options"),
        (
            COMMON + METHODS + "  other: [{method: max}]\n",
            "matrix: method and other both give method: leave one out",
        ),
        (COMMON + METHODS + "exclude: [{method: max}]\n", "exclude 1 matches no combination of the matrix"),
        (
            COMMON + METHODS + "exclude: [{metod: kl}]\n",
            "exclude: unknown option metod: did you mean method?",
        ),
        (COMMON + METHODS + "exclude: {method: kl}\n", "exclude is a list of mappings"),
        (COMMON + "include: [{out: x}]\n", "include: out is one for the whole sweep"),
        ("model: m\nout: o\n" + METHODS, "command is missing: it is calibrate or tune"),
        (
            "command: eval\nmodel: m\nout: o\n" + METHODS,
            "unknown command 'eval': a sweep runs calibrate or tune",
        ),
        (
            "command: [tune]\nmodel: m\nout: o\n" + METHODS,
            "unknown command ['tune']: a sweep runs calibrate or tune",
        ),
        ("command: calibrate\nout: o\n" + METHODS, "run kl: model is missing"),
        ("command: calibrate\nmodel: m\n" + METHODS, "out is missing: give the folder of the sweep"),
        (COMMON + METHODS + "workers: none\n", "workers none"),
        (COMMON + METHODS + "dump_dist: x\n", "unknown key dump_dist"),
        ("- a\n", "a job file is a mapping"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_what_cannot_be_is_named_with_its_file(write, text, message):
    path = write(text)
    with pytest.raises(UsageError) as error:
        load_sweep(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
