"""Settings by layer, as a user writes them: YAML whose keys are layer names or patterns.

conv1: {method: max, scale: 1.1}       # a layer's name is its output tensor; node names do as well
"stage2*": {float: true}               # * and ? stand for any characters
score: {threshold: 12.5}               # or {min: -3, max: 9}: fixed, not searched
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from distq.errors import UsageError
from distq.options import unknown_name
from distq.quant.scheme import SMALLEST_THRESHOLD
from distq.regular import read_regular
from distq.yaml_text import parse_yaml

LayerMethod = Literal["max", "kl", "symkl", "jsd", "admm", "aciq", "percentile", "mse"]

Positive = Annotated[float, Field(ge=SMALLEST_THRESHOLD, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

QUANTIZER_KEYS = ("method", "scale", "threshold", "min", "max", "bits")
"""Keys that are about the quantizer of a layer's output; the others are about the layer."""


class LayerEntry(BaseModel):
    """What one entry sets; None is as for all layers.

    Attributes:
        method: that finds the threshold.
        scale: factor on the threshold that is found.
        threshold: fixed, T; the range is [-T, T], or [0, T] for a tensor that is never negative.
        min, max: the fixed range itself; it holds 0.
        bits: of the activation.
        in_float: ``float`` in a file: the layer stays float.
        groups: so many groups of output channels, each with thresholds of its own; 1: none.
        weights: one scale for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: LayerMethod | None = None
    scale: Positive | None = None
    threshold: Positive | None = None
    min: Finite | None = None
    max: Finite | None = None
    bits: Literal[8, 16] | None = None
    in_float: Annotated[Literal[True] | None, Field(alias="float")] = None
    groups: Annotated[int, Field(ge=1, le=64)] | None = None
    weights: Literal["per_tensor"] | None = None

    @model_validator(mode="after")
    def _require_one_meaning(self) -> Self:
        given = [
            name for name in ("threshold", "min", "max", "method", "scale") if getattr(self, name) is not None
        ]
        if (self.min is None) != (self.max is None):
            raise ValueError("min and max go together: give both")
        if self.min is not None and self.max is not None and not self.min <= 0 <= self.max > self.min:
            raise ValueError(f"min {self.min:g} and max {self.max:g} are no range that holds 0: correct them")
        if self.threshold is not None and given != ["threshold"]:
            raise ValueError(f"threshold is fixed, so {given[1]} has no meaning: leave one of them out")
        if self.min is not None and given != ["min", "max"]:
            raise ValueError(f"min and max are fixed, so {given[2]} has no meaning: leave one out")
        if self.in_float and (self.groups is not None or self.weights is not None):
            raise ValueError("a layer in float has neither groups nor weights of one scale: leave one out")
        return self

    @property
    def given(self) -> dict[str, object]:
        """The keys that are set, as a file names them."""
        return self.model_dump(by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class ThresholdSetting:
    """What a user set for one quantizer.

    Attributes:
        method: that finds its threshold; None: as for all.
        scale: factor on the threshold that is found.
        threshold: fixed; None where it is found.
        limits: the fixed range, lower and upper end; None where it follows the threshold.
    """

    method: str | None = None
    scale: float = 1.0
    threshold: float | None = None
    limits: tuple[float, float] | None = None

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to find."""
        return self.threshold is not None or self.limits is not None

    def fixed_range(self, observed_min: float) -> tuple[float, float] | None:
        """The fixed range of a tensor with this least value; None where the threshold is found."""
        if self.limits is not None:
            return self.limits
        if self.threshold is None:
            return None
        return (-self.threshold if observed_min < 0 else 0.0), self.threshold


def read_layer_config(path: Path) -> dict[str, LayerEntry]:
    """Read a YAML file of settings: entries by layer name or pattern, in the file's order.

    Raises:
        UsageError: it cannot be read, is no mapping, or has an unknown key or value; the entry is named.
    """
    try:
        content = parse_yaml(read_regular(path))
    except OSError as error:
        raise UsageError(
            f"--layer-config {path} cannot be read: {error.strerror}; give a YAML file or a Caffe prototxt"
        ) from None
    except ValueError as error:
        raise UsageError(f"--layer-config {path} is not YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise UsageError(
            f"--layer-config {path} has no entries: give a mapping such as 'conv1: {{method: max}}'"
        )
    return {str(name): entry_of(f"{path}: entry {name}", fields) for name, fields in content.items()}


def entry_of(where: str, fields: object) -> LayerEntry:
    """An entry from the keys of a file.

    Args:
        where: the errors begin with it.
        fields: values by key.

    Raises:
        UsageError: no mapping, an unknown key, or values that cannot be.
    """
    if not isinstance(fields, Mapping) or not fields:
        raise UsageError(f"{where} sets nothing: give a mapping such as {{method: max}}")
    try:
        return LayerEntry.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] in {"extra_forbidden", "invalid_key"}:
            known = {field.alias or known: None for known, field in LayerEntry.model_fields.items()}
            raise UsageError(f"{where}: {unknown_name(key, known, 'key')}") from None
        text = first["msg"].removeprefix("Value error, ")
        value = f"{key} {first['input']!r}: " if key else ""
        raise UsageError(f"{where}: {value}{text[0].lower()}{text[1:]}") from None
