"""Flags made from options."""

from __future__ import annotations

import inspect

import pytest

from distq.cli.flags import FLAGS, Output, takes
from distq.config import AutoOptions, CalibrateOptions, DiffOptions, EvaluateOptions, TuneOptions

KINDS = [CalibrateOptions, TuneOptions, AutoOptions, EvaluateOptions, DiffOptions]


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_has_help(kind):
    assert set(kind.model_fields) <= set(FLAGS)


def test_no_help_is_left_over():
    assert set(FLAGS) == set().union(*(kind.model_fields for kind in KINDS))


def test_a_command_has_a_parameter_for_every_option_and_for_output():
    @takes(TuneOptions)
    def command(values, output):
        return values, output

    assert set(inspect.signature(command).parameters) == {*TuneOptions.model_fields, "quiet", "json"}


def test_values_left_out_are_absent_and_own_parameters_are_passed_on():
    seen = []

    @takes(TuneOptions, only=("out", "workers"))
    def command(values, output, extra):
        seen.append((values, output, extra))

    command(out=None, workers=2, quiet=True, json=False, extra="x")
    assert seen == [({"workers": 2}, Output(quiet=True, json=False), "x")]


def test_help_lists_the_targets_there_are():
    @takes(TuneOptions)
    def command(values, output):
        return values, output

    (info,) = inspect.signature(command).parameters["target"].annotation.__metadata__
    assert info.help.endswith("(ort, openvino, tensorrt; default: ort).")
