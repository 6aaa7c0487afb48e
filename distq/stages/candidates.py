"""Networks that ``distq auto`` may choose: each is other options, and the form that these come to.

A candidate is made as ``calibrate`` or ``tune`` makes it with its options. While it is only tried, what the
float network gives is taken from the network that all began with. That is not the same to the last bit, as
what ONNX Runtime fuses depends on the tensors that are looked at: so the answer is made once more without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from distq.config import AutoOptions
from distq.engine.progress import folded
from distq.graph.heads import Place, parts, with_places
from distq.graph.load import LoadedModel
from distq.graph.probes import stages
from distq.graph.site import EQUALIZED
from distq.options import make_options
from distq.replica.worker import Blob
from distq.run.auto_report import short_name
from distq.run.context import Run
from distq.run.prepare import LOADED_BY, prepare_model
from distq.stages.budget import with_choice
from distq.stages.calibrated import calibrated
from distq.stages.channel_scales import with_channel_scales
from distq.stages.correct import corrected, correcting
from distq.stages.equalize import evens_out
from distq.stages.form import Choice, Form
from distq.stages.method import best_calibration
from distq.stages.observe import COUNTED_WHOLE, observe
from distq.stages.start import best_form
from distq.stages.steps import Steps, at_once
from distq.stages.thresholds import AUTO, FIRST_METHOD, with_thresholds
from distq.stages.tuned import tuned

START_ALONE = 1
"""``--effort`` that chooses a start and searches nothing."""


@dataclass(frozen=True)
class Candidate:
    """What one network is made with.

    Attributes:
        name: for a person.
        changes: options that differ from those of the run.
        tuned: whether its thresholds are searched.
        choice: what of it is better than 8 bit, beyond what the user set.
        evened: whether its channels are evened out.
        as_given: what tensors of the evened-out network are called in the given one, where that differs.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict)
    tuned: bool = False
    choice: Choice = field(default_factory=Choice)
    evened: bool = False
    as_given: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> Literal["calibrate", "tune"]:
        """The verb that makes it."""
        return "tune" if self.tuned or self.evened else "calibrate"

    def options(self, given: AutoOptions) -> AutoOptions:
        """The options of ``tune`` that make it; a choice adds to what the user set."""
        values: dict[str, object] = {name: getattr(given, name) for name in given.model_fields_set}
        changed = make_options(AutoOptions, {**values, **self.changes})
        values |= self.changes
        if self.evened and not self.tuned:
            values |= {"equalize": True, "effort": START_ALONE}
        for name, chosen in (
            ("int16_layers", tuple(self.as_given.get(name, name) for name in self.choice.int16)),
            ("float_layers", self.choice.float_layers),
        ):
            if chosen:
                values[name] = (*getattr(changed, name), *chosen)
        return make_options(AutoOptions, values)


@dataclass(frozen=True)
class Made:
    """A candidate, the options that it came to, and its form.

    ``shared``: with what the float network gave for the network that all began with.
    """

    candidate: Candidate
    options: AutoOptions
    run: Run
    form: Form
    shared: bool = False


class Maker:
    """Makes candidates of one run.

    Args:
        run: gives workers and samples.
        options: of the run.
    """

    def __init__(self, run: Run, options: AutoOptions) -> None:
        self._run = run
        self._options = options
        self._loaded = run.loaded.as_loaded()
        self.base = self._first(calibrated(run))
        self._evened: Made | None = None

    def evened(self) -> Made | None:
        """The first network with its channels evened out as ``tune`` does; None: it leaves them."""
        base = self.base
        if not evens_out(base.options):
            return None
        form = best_form(base.run.by_diff(), base.options, base.form, base.form, even=True)
        if form is base.form:
            return None
        inserted = {name + EQUALIZED: name for name in base.form.plan.by_tensor}
        as_given = {name: inserted[name] for name in form.plan.by_tensor if name in inserted}
        candidate = replace(
            base.candidate, name=f"{base.candidate.name}, channels evened out", evened=True, as_given=as_given
        )
        options = candidate.options(self._options)
        self._evened = Made(candidate, options, base.run, form, shared=True)
        return self._evened

    def making(self, candidates: Sequence[Candidate], *, share: bool = True) -> tuple[int, list[Steps[Made]]]:
        """Procedures that make them, and how many layers these correct; each layer advances the reporter.

        What takes more than correction is made at once.

        Args:
            candidates: to be made.
            share: take from the first network what float gives, but where thresholds are searched.
        """
        prepared = [self._prepared(candidate, share=share) for candidate in candidates]
        whole = {i: self._whole(one) for i, one in enumerate(prepared) if not self._only_corrected(one)}
        forms = [one.form for i, one in enumerate(prepared) if i not in whole]
        layers, procedures = correcting(self._run, forms) if forms else (0, [])
        corrections = iter(procedures)
        return layers, [
            at_once(whole[i]) if i in whole else _with_form(one, next(corrections))
            for i, one in enumerate(prepared)
        ]

    def _first(self, form: Form) -> Made:
        """The network that ``calibrate`` exports, by the method that was found best."""
        return self._named(Made(Candidate("INT8"), self._options, self._run, form))

    def _named(self, made: Made) -> Made:
        """With the method that ``auto`` came to in place of it, and without correction where it harms."""
        if made.options.method != AUTO:
            return made
        chosen = made.run.journal.notes("method")  # none where there was no time to compare
        found: dict[str, object] = {"method": chosen[-1]["chosen"] if chosen else FIRST_METHOD}
        if chosen and not chosen[-1].get("corrected", True):
            found["bias_correction"] = False
        candidate = replace(made.candidate, changes={**made.candidate.changes, **found})
        return replace(made, candidate=candidate, options=candidate.options(self._options))

    def _only_corrected(self, made: Made) -> bool:
        """Whether it is done once its layers are corrected, which goes beside those of others."""
        same = ("rounding", "bias_correction")
        return (
            made.options.method != AUTO
            and (made.shared or made.candidate.command == "calibrate")
            and all(getattr(made.options, name) == getattr(self._options, name) for name in same)
        )

    def _prepared(self, candidate: Candidate, *, share: bool) -> Made:
        """With thresholds; weights and biases are still to be made.

        Raises:
            InputError: the options do not go together.
        """
        options, run = candidate.options(self._options), self._run
        if share and candidate.evened and not candidate.tuned and self._evened is not None:
            form = with_choice(self._evened.form, candidate.choice)
            return Made(candidate, options, replace(run, options=options), form, shared=True)
        as_loaded = all(getattr(options, name) == getattr(self._options, name) for name in LOADED_BY)
        known = self._loaded if as_loaded else None
        loaded, plan = prepare_model(options, run.loaded.without, loaded=known)
        places = parts(loaded.model, plan)
        own = replace(
            run,
            options=options,
            loaded=loaded,
            plan=plan,
            places=places,
            float_parts=self._float_parts(loaded, places),
        )
        share = share and candidate.command == "calibrate"
        form = Form.given(own)
        form = self._with_float(own, form) if share else replace(form, distributions=observe(own, form))
        form = with_channel_scales(own, form)
        return Made(candidate, options, own, with_thresholds(own, form), share)

    def _float_parts(self, loaded: LoadedModel, places: tuple[Place, ...]) -> Blob:
        """The float network with these places as outputs."""
        run = self._run
        if loaded.model is run.loaded.model and places == run.places:
            return run.float_parts
        return run.executor.share(with_places(loaded.serialized(), places))

    def _with_float(self, run: Run, form: Form) -> Form:
        """The form with its distributions and means: those known where the network is the same."""
        base = self.base.form
        same = form.model is base.model or form.serialized == base.serialized
        whole = [not COUNTED_WHOLE.isdisjoint({o.method}) for o in (run.options, self.base.options)]
        known = base.distributions if same and whole[0] == whole[1] else {}
        missing = [q.name for q in form.plan.in_table if q.name not in known]
        found = {**known, **(observe(run, form, missing) if missing else {})}
        own = {q.name: found[q.name] for q in form.plan.known(found)}
        layers = {layer.name for stage in stages(form.model, form.plan) for layer in stage}
        means = base.means if same and base.means is not None and layers <= base.means.keys() else None
        ends = base.channel_ranges if same else {}
        return replace(form, distributions=own, channel_ranges=ends, means=means)

    def _whole(self, made: Made) -> Made:
        if made.options.method == AUTO:
            made = self._named(replace(made, form=best_calibration(made.run, made.form)))
        else:
            made = replace(made, form=corrected(made.run, made.form))
        if made.shared or made.candidate.command == "calibrate":
            return made
        if made.candidate.tuned:
            for line in folded(f"{short_name(made.candidate.name)}: thresholds are searched", "  "):
                made.run.reporter.line(line)
        return replace(made, form=tuned(made.run.by_diff(), made.options, made.form, keeps=False))


def _with_form(made: Made, procedure: Steps[Form]) -> Steps[Made]:
    return replace(made, form=(yield from procedure))
