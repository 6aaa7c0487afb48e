"""The steps of a preprocessing file, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from distq.data.picture import Step
from distq.data.resize import Resize
from distq.data.shape_steps import CenterCrop, Flip, Pad, Transpose
from distq.data.strict import one_line, unknown
from distq.data.value_steps import Color, Mean, MeanFile, Scale, Standardize, Std

STEPS: dict[str, type[Step]] = {
    step.key: step
    for step in (
        Resize,
        CenterCrop,
        Pad,
        Flip,
        Transpose,
        Color,
        Scale,
        Mean,
        MeanFile,
        Std,
        Standardize,
    )
}
ARITHMETIC = (Scale, Mean, MeanFile, Std, Standardize)


def parse_step(raw: object, context: Mapping[str, object] | None = None) -> object:
    """Turn ``{name: value}`` of a preprocessing file into a step; leave a step as it is.

    Args:
        raw: What the file has.
        context: May have ``folder``, where relative paths start.

    Raises:
        ValueError: it is no such mapping, or no such step.
    """
    if isinstance(raw, Step):
        return raw
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise ValueError(f"a step is one 'name: value', not {raw!r}; names: {', '.join(sorted(STEPS))}")
    ((key, value),) = raw.items()
    if key not in STEPS:
        raise ValueError(unknown("step", key, STEPS))
    step = STEPS[key]
    content = {"value": value} if "value" in step.model_fields else value
    try:
        return step.model_validate(content, context=context)
    except ValidationError as error:
        raise ValueError(f"{key}: {one_line(error)}") from None
