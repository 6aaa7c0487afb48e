"""A picture between two steps of a preprocessing file, and what every step is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from distq.data.strict import StrictModel

Order = Literal["bgr", "rgb", "gray"]
Length = Annotated[int, Field(ge=1, le=1 << 16)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[
    tuple[Number, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float | str) else value),
    Field(min_length=1),
]


@dataclass(frozen=True)
class Picture:
    """An image between steps: (H, W, C), uint8 until the first arithmetic step, then float32."""

    array: NDArray[Any]
    order: Order


class Step(StrictModel, ABC):
    """One step; ``key`` is its name in the file."""

    key: ClassVar[str]

    @abstractmethod
    def apply(self, picture: Picture) -> Picture:
        """Do the step.

        Raises:
            PreprocessError: the picture is not what the step takes.
        """

    def describe(self) -> Any:  # noqa: ANN401  # JSON: a mapping, a list or a number
        """The step's value as a preprocessing file has it, defaults included."""
        values = self.model_dump(mode="json", exclude_none=True)
        return values.get("value", values)

    def as_file(self) -> Any:  # noqa: ANN401  # as describe
        """The step's value ready to be written to a preprocessing file."""
        return self.describe()
