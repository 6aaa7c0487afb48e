"""YAML as it comes from outside: plain values only, and no file that grows without bounds when it is read."""

from __future__ import annotations

import yaml

_MOST_VALUES = 100_000

_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def parse_yaml(data: bytes) -> object:
    """Read one YAML document.

    An alias stands for the same value in many places; a few lines of them make billions (the "billion
    laughs"). So values are counted as they would be written out, before any is made.

    ``1:30`` is text, as in YAML 1.2; the older YAML of PyYAML takes it for 90.

    Args:
        data: UTF-8 text.

    Raises:
        ValueError: it is no YAML, not plain values, too deep or too much; the message is one line that says
            why and where.
    """
    try:
        return _parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(place + " ".join((error.problem or error.context or "").split())) from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"character {error.position + 1} cannot be in it") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse(text: str) -> object:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _count(root, {}) > _MOST_VALUES:
            raise ValueError(f"its aliases, written out, make more than {_MOST_VALUES} values")
        value: object = loader.construct_document(root)
        return value
    finally:
        loader.dispose()


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for, its aliases written out; 0 marks one that is being counted."""
    if node.tag in _NUMBERS and ":" in node.value:
        node.tag = _TEXT
    known = counted.get(id(node))
    if known == 0:
        raise ValueError("it holds a value that contains itself")
    if known is None:
        counted[id(node)] = 0
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            _require_once(node)
            parts = [each for pair in parts for each in pair]
        known = counted[id(node)] = 1 + sum(_count(part, counted) for part in parts)
    return known


def _require_once(mapping: yaml.MappingNode) -> None:
    """Refuse a key that a mapping has twice, of which PyYAML keeps the last without a word."""
    seen: set[tuple[str, str]] = set()
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if (key.tag, key.value) in seen:
            raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is given twice")
        seen.add((key.tag, key.value))
