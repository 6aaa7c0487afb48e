"""What is closed at the end of a ``with`` block."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self


class Closing:
    """Something that a ``with`` block closes, however the block ends."""

    @abstractmethod
    def close(self) -> None:
        """End it; what it holds is given back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()
