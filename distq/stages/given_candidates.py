"""Combinations given by hand: ``--try 'per-channel; method=admm; float-blocks=softmax'``."""

from __future__ import annotations

from distq.config import LAYER_OPTIONS, AutoOptions, TuneOptions
from distq.errors import UsageError
from distq.options import make_options, unknown_name
from distq.stages.budget import require_budget
from distq.stages.candidates import Candidate

_SEARCH = ("effort", "strategy", "equalize", "layers", "ignore_layers", "int16_budget", "float_budget")
_SETTABLE = (
    *(name for name in LAYER_OPTIONS if name not in {"input_shape", "state", "sequence", "layer_config"}),
    *("method", "bins", "scheme", "int16_layers", "rounding", "bias_correction"),
    *_SEARCH,
)
_WORDS = {"per_channel": ("per_tensor_weights", False), "per_tensor": ("per_tensor_weights", True)}
"""What users call settings that are another option's."""

_TUNE = "tune"


def given_candidates(options: AutoOptions) -> list[Candidate]:
    """A candidate for each combination.

    Raises:
        UsageError: one has an unknown name, or a value that the option cannot have.
    """
    return [_candidate(options, text) for text in dict.fromkeys(options.tries)]


def _candidate(options: AutoOptions, text: str) -> Candidate:
    changes: dict[str, object] = {}
    tuned = False
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = name.replace("-", "_")
        if name == _TUNE and not equals:
            tuned = True
            continue
        option, setting = _WORDS.get(name, (name, True))
        if option.startswith("no_") and option.removeprefix("no_") in _SETTABLE:
            option, setting = option.removeprefix("no_"), False
        if option not in _SETTABLE:
            allowed = dict.fromkeys((*_SETTABLE, *_WORDS, _TUNE))
            raise UsageError(f"--try {text}: {unknown_name(name, allowed)}")
        switch = TuneOptions.model_fields[option].annotation is bool
        if switch == bool(equals):
            form = f"{name} alone" if switch else f"{name}=VALUE"
            raise UsageError(f"--try {text}: give {form.replace('_', '-')}")
        changes[option] = setting if switch else value
        tuned = tuned or option in _SEARCH
    if not changes and not tuned:
        raise UsageError(f"--try {text!r} says nothing: give options such as 'method=mse; tune'")
    given = {name: getattr(options, name) for name in options.model_fields_set}
    checked = make_options(AutoOptions, {**given, **changes}, lambda name: f"--try {text}: {name}")
    require_budget(checked)
    return Candidate(text, {name: getattr(checked, name) for name in changes}, tuned)
