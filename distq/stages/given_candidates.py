"""Combinations given by hand: ``--try 'per-channel; method=admm; float-blocks=softmax'``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from distq.config import LAYER_OPTIONS, AutoOptions, TuneOptions
from distq.errors import ModelError, UsageError
from distq.options import make_options, unknown_name
from distq.run.auto_report import short_name
from distq.run.context import Run
from distq.run.prepare import prepare_model
from distq.run.time_limit import TimeIsUp
from distq.stages.budget import require_budget
from distq.stages.candidates import Candidate
from distq.stages.cheapest import Explored
from distq.stages.form import Form
from distq.stages.search import chosen_quantizers
from distq.stages.trials import Trials

_SEARCH = ("effort", "strategy", "equalize", "layers", "ignore_layers", "int16_budget", "float_budget")
_OF_THE_NETWORK = ("input_shape", "input_value", "state", "sequence", "layer_config")
_SETTABLE = (
    *(name for name in LAYER_OPTIONS if name not in _OF_THE_NETWORK),
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
        try:
            _named(run, candidate.options(options))
        except (UsageError, ModelError):  # of a name, or of what the options come to together?
            for name, value in candidate.changes.items():
                _alone(run, options, candidate.name, {name: value})


def _alone(run: Run, options: AutoOptions, text: str, changes: Mapping[str, object]) -> None:
    """Refuse an option of a combination for itself; what only the combination rules out is said later."""
    try:
        _named(run, Candidate(text, changes).options(options))
    except UsageError as error:
        raise UsageError(f"--try {text}: {error}") from None
    except ModelError:
        pass


def _named(run: Run, options: AutoOptions) -> None:
    loaded, plan = prepare_model(options, run.loaded.without)
    chosen_quantizers(options, Form.given(replace(run, loaded=loaded, plan=plan)))


def run_given(run: Run, trials: Trials, candidates: Sequence[Candidate], time: str | None) -> Explored:
    """Exactly the combinations that were given by hand; one that cannot be made ends none of the others.

    Raises:
        UsageError, ModelError: none could be made; the first one's reason.
    """
    in_time, failed = True, dict[str, UsageError | ModelError]()
    for candidate in candidates:
        try:
            with run.time.limit():
                trials.of([candidate])
        except TimeIsUp:
            in_time = False
            run.time.leave_out("combinations that were not tried")
            run.warn(f"--time {time} was over: --resume with a longer one, or none, goes on")
            break
        except (UsageError, ModelError) as error:
            failed[candidate.name] = error
            run.warn(f"--try {candidate.name} could not be made: {error}")
    if len(failed) == len(candidates):
        raise next(iter(failed.values()))
    answer = trials.answer()
    obstacles = []
    if not answer.met:
        obstacles.append(f"of {len(trials.every)} networks {short_name(answer.name)} comes closest")
        if not in_time:
            obstacles.append(f"--time {time} was over before all were tried")
    not_made = {name: str(error) for name, error in failed.items()}
    return Explored(answer, None, {}, tuple(obstacles), in_time and not failed, not_made)


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
        switch = TuneOptions.model_fields[option].annotation in (bool, bool | None)
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
