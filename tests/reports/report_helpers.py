"""What the tests of the page share."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """The facts of a page that a test asks for.

    ``metrics`` are exact values by where they stand in ``metrics.json``, of all runs in order; ``links`` are
    anchors, ``ids`` elements, ``text`` is all that is shown.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.metrics: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.ids: list[str] = []
        self.outside: list[str] = []
        self.differs = 0
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if "data-metric" in found:
            self.metrics.setdefault(str(found["data-metric"]), []).append(str(found["data-value"]))
        if "id" in found:
            self.ids.append(str(found["id"]))
        if tag == "a" and "href" in found:
            self.links.append(str(found["href"]))
        if "src" in found or tag in {"link", "iframe", "object", "embed"}:
            self.outside.append(tag)
        self.differs += "differs" in str(found.get("class"))

    def handle_data(self, data: str) -> None:
        self.text += data


def at(content: Any, place: str) -> Any:
    """What JSON holds at a place, ``/`` between."""
    for part in place.split("/"):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content
