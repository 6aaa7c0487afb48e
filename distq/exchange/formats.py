"""What a format is, and what its writer is given; the list of formats is in ``registry.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from distq.errors import UsageError
from distq.exchange.network import Network
from distq.exchange.table import Convention, Entry, ExchangeTable, WeightScales
from distq.exchange.text import Content, listed


@dataclass(frozen=True)
class Request:
    """What is written: a table with names of tensors, for which network and in which way.

    Attributes:
        table: what the format shall say. Its ``details`` are there only where it was read as this format.
        convention: of thresholds.
        network: the user's; None where none was given.
        names: the tool's own file with its names; None where none was given.
        suffix: of the file to write, such as ``.cache``.
    """

    table: ExchangeTable
    convention: Convention = 127
    network: Network | None = None
    names: Path | None = None
    suffix: str = ""
    lost: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Say what the format cannot."""
        self.lost.append(text)

    def require_network(self, why: str) -> Network:
        """The network.

        Raises:
            UsageError: none was given.
        """
        if self.network is None:
            raise UsageError(f"{why}: give --model MODEL")
        return self.network

    def weights(self) -> dict[str, WeightScales]:
        """Scales of weights by node; none without a network."""
        return {} if self.network is None else self.network.weights(self.table.weights)

    def warn_of_zero_points(self, *, unsigned: bool = False) -> None:
        """Say which quantizers a format without zero points changes; ``unsigned``: it has those from 0 up."""
        entries = self.table.entries.items()
        names = [name for name, e in entries if not (e.symmetric or (unsigned and e.zero_point == 0))]
        if names:
            self.warn(f"no zero points: a range around 0 for {listed(names, 2)}")

    def warn_of_bits(self) -> None:
        """Say which tensors a format of 8 bits changes."""
        names = [name for name, entry in self.table.entries.items() if entry.bits != 8]
        if names:
            self.warn(f"no 16 bits: {listed(names, 2)} get 8")

    def warn_of_channels(self) -> None:
        """Say which tensors a format with one scale a tensor changes."""
        names = [name for name, entry in self.table.entries.items() if entry.by_channel]
        if names:
            self.warn(
                f"no scales by channel: the whole range for {listed(names, 2)}, which the weights were not "
                "made for; a run with --no-channel-scales has one scale a tensor"
            )

    def warn_of_unread(self, written: Iterable[Entry]) -> None:
        """Say which tensors a format of layers' inputs has no place for."""
        kept = set(written)
        names = [name for name, entry in self.table.entries.items() if entry not in kept]
        if names:
            self.warn(f"only what layers read has a place: without {listed(names, 3)}")

    def warn_of_weights(self) -> None:
        """Say that scales of weights are left out."""
        if self.table.weights:
            self.warn("no scales of weights")


@dataclass(frozen=True)
class Format:
    """One format of tables.

    Attributes:
        name: as ``--to`` takes it.
        title: what a person calls it.
        recognise: whether a file is of it.
        read: makes a table of a file; the convention is that of its thresholds.
        write: makes a file's bytes.
        convention: of its thresholds by the tool's own use; None where scales or ranges leave no doubt.
        states_convention: the file has a place that says it.
    """

    name: str
    title: str
    recognise: Callable[[Content], bool]
    read: Callable[[Content, Convention], ExchangeTable]
    write: Callable[[Request], bytes]
    convention: Convention | None = None
    states_convention: bool = True
