"""Combinations given by hand: ``--try 'per-channel; method=admm; float-blocks=softmax'``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distq.config import LAYER_OPTIONS, AutoOptions, TuneOptions
from distq.errors import ModelError, UsageError
from distq.options import make_options, unknown_name
from distq.run.context import Run
from distq.run.prepare import prepare_model
from distq.stages.budget import require_budget
from distq.stages.candidates import Candidate
from distq.stages.form import Form
from distq.stages.search import chosen_quantizers

_SEARCH = ("effort", "strategy", "equalize", "layers", "ignore_layers", "int16_budget", "float_budget")
_SETTABLE = (
    *(name for name in LAYER_OPTIONS if name not in {"input_shape", "layer_config"}),
    *("method", "bins", "scheme", "int16_layers", "rounding", "bias_correction"),
    *_SEARCH,
)
_WORDS = {"per_channel": ("per_tensor_weights", False), "per_tensor": ("per_tensor_weights", True)}
"""What users call settings that are another option's."""

_TUNE = "tune"


def given_candidates(options: AutoOptions) -> list[Candidate]:
    """A candidate for each combination.

    Raises:
        UsageError: one has an unknown name, a value that the option cannot have, or two values of one option.
    """
    return [_candidate(options, text) for text in dict.fromkeys(options.tries)]


def require_names(run: Run, options: AutoOptions, candidates: Sequence[Candidate]) -> None:
    """Find out before anything is computed whether the network has the layers that combinations name.

    Raises:
        UsageError: it has not; the message names the combination.
    """
    for candidate in candidates:
        own = candidate.options(options)
        try:
            loaded, plan = prepare_model(own, run.loaded.without)
            chosen_quantizers(own, Form.given(replace(run, loaded=loaded, plan=plan)))
        except UsageError as error:
            raise UsageError(f"--try {candidate.name}: {error}") from None
        except ModelError:
            continue  # of this network: said when it is made


def _candidate(options: AutoOptions, text: str) -> Candidate:
    changes: dict[str, object] = {}
    words: dict[str, str] = {}
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
        given = setting if switch else value
        if changes.setdefault(option, given) != given:
            raise UsageError(f"--try {text}: {words[option]} and {part} contradict each other: leave one out")
        words[option] = part
        tuned = tuned or option in _SEARCH
    if not changes and not tuned:
        raise UsageError(f"--try {text!r} says nothing: give options such as 'method=mse; tune'")
    of_run = {name: getattr(options, name) for name in options.model_fields_set}
    checked = make_options(AutoOptions, {**of_run, **changes}, lambda name: f"--try {text}: {name}")
    require_budget(checked)
    return Candidate(text, {name: getattr(checked, name) for name in changes}, tuned)
