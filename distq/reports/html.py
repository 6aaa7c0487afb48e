"""Elements, numbers and tables as HTML text; every text from outside is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

NOTHING = "–"
"""What a cell without a value shows."""

_LONG = 24
"""Characters from which a cell of text is given room."""

_UNITS = ("B", "KB", "MB", "GB")


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element around HTML that is put together already.

    Args:
        tag: its name.
        content: HTML.
        attributes: ``_`` in a name stands for ``-``, and one at the end is dropped (``class_``); a value of
            None or False leaves the attribute out, True gives it no value. Values are escaped.
    """
    words = [tag]
    for name, value in attributes.items():
        spelled = name.rstrip("_").replace("_", "-")
        if value is True:
            words.append(spelled)
        elif value is not None and value is not False:
            words.append(f'{spelled}="{escape(str(value))}"')
    return f"<{' '.join(words)}>{''.join(content)}</{tag}>"


def text(value: object) -> str:
    """Any text, escaped."""
    return escape(str(value))


def number(value: float | None, digits: int = 4) -> str:
    """A number for reading: so many significant digits."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


def decibels(value: float | None) -> str:
    """An SQNR or a difference of two."""
    return NOTHING if value is None or math.isnan(value) else f"{number(value)} dB"


def share(value: float | None) -> str:
    """A fraction in percent."""
    if value is None or math.isnan(value):
        return NOTHING
    if 0 < value < 0.00005:
        return "<0.01 %"
    return f"{100 * value:.3g} %"


def size(value: float | None) -> str:
    """A number of bytes."""
    if value is None:
        return NOTHING
    power = min(int(math.log(value, 1000)) if value >= 1 else 0, len(_UNITS) - 1)
    return f"{value / 1000**power:.3g} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds for reading."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        html: what it shows.
        value: what it is sorted by and exported as; None: the text that it shows.
        differs: it is of another run, and not what the first run has.
        metric: where the value stands in ``metrics.json``, ``/`` between.
        numeric: it is set to the right.
    """

    html: str
    value: float | str | None = None
    differs: bool = False
    metric: str | None = None
    numeric: bool = False

    def render(self, *, head: bool = False) -> str:
        """The element."""
        long = not self.numeric and len(self.html) > _LONG and "<" not in self.html
        kinds = (("n", self.numeric), ("long", long), ("differs", self.differs))
        classes = " ".join(name for name, on in kinds if on)
        # a float in its shortest exact form
        value = repr(self.value) if isinstance(self.value, float) else self.value
        shown = {"data_value": value, "data_metric": self.metric, "class_": classes or None}
        return element("th", self.html, scope="row", **shown) if head else element("td", self.html, **shown)


def numeric(shown: str, value: float | None, *, metric: str | None = None, differs: bool = False) -> Cell:
    """A cell with a number."""
    return Cell(text(shown), "" if value is None else float(value), differs, metric, numeric=True)


def words(shown: object, *, differs: bool = False) -> Cell:
    """A cell with text."""
    return Cell(text(shown), differs=differs)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, id_: str | None = None, sortable: bool = False
) -> str:
    """A table whose first column names the rows; it scrolls by itself where it is too wide.

    Args:
        heads: of the columns, plain text; a second line is set smaller.
        rows: cells.
        id_: of the element.
        sortable: a click on a head sorts.
    """

    def head(label: str) -> str:
        name, _, run = label.partition("\n")
        shown = text(name) + (element("small", text(run)) if run else "")
        return element("button", shown, type="button") if sortable and label else shown

    rows = list(rows)
    right = [any(row[i].numeric for row in rows if i < len(row)) for i in range(len(heads))]
    rows = [
        [replace(cell, numeric=right[i]) if cell.html == NOTHING else cell for i, cell in enumerate(row)]
        for row in rows
    ]
    labels = zip(heads, right, strict=True)
    top = element(
        "tr", *(element("th", head(name), scope="col", class_="n" if n else None) for name, n in labels)
    )
    body = [element("tr", *(cell.render(head=i == 0) for i, cell in enumerate(row))) for row in rows]
    whole = element(
        "table",
        element("thead", top),
        element("tbody", *body),
        id=id_,
        class_="sortable" if sortable else None,
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label="table")


def small_table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of plain text that is neither sorted nor saved, as short as a page with hundreds needs it.

    Args:
        heads: of the columns.
        rows: their cells; all but the first are set to the right, unless the style sheet says more.
        kind: class by which it does.
    """
    top = element("tr", *(element("th", text(head)) for head in heads))
    body = [element("tr", *(element("td", text(cell)) for cell in row)) for row in rows]
    whole = element("table", element("thead", top), *body)
    return element("div", whole, class_=f"scroll small {kind}".rstrip(), tabindex="0")


def section(anchor: str, title: str, *content: str) -> str:
    """A view of the page."""
    return element("section", element("h2", text(title)), *content, id=anchor)


def paragraph(*content: str, class_: str | None = None) -> str:
    """A paragraph of HTML."""
    return element("p", *content, class_=class_)


def side_by_side(panels: Sequence[tuple[str, str]], *, wide: bool = False) -> str:
    """What each run shows, under its label where there are several.

    Args:
        panels: label and HTML of each.
        wide: they need the width of the page, so one stands below the other.
    """
    if len(panels) == 1:
        return panels[0][1]
    shown = [
        element("div", element("h3", text(label)), content or paragraph(NOTHING), class_="panel")
        for label, content in panels
    ]
    return element("div", *shown, class_="side wide" if wide else "side")
