"""YAML from outside: plain values, one line for whatever is wrong, and no growth without bounds."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distq.yaml_text import parse_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value).encode()) == value


@given(st.binary(max_size=60) | st.text("a:-[]{}&*!|>#%?\n ,'\"0", max_size=60).map(str.encode))
def test_anything_else_is_refused_in_one_line(data: bytes) -> None:
    reason = "nothing is wrong"
    try:
        parse_yaml(data)
    except ValueError as error:
        reason = str(error)
    assert "\n" not in reason
    assert reason.strip()


def test_an_alias_is_the_value_it_stands_for() -> None:
    assert parse_yaml(b"a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_a_number_with_a_colon_is_text() -> None:
    assert parse_yaml(b"{a: 1:30, b: 90, c: '1:30', d: 1:30.5, 1:2: x}") == {
        "a": "1:30",
        "b": 90,
        "c": "1:30",
        "d": "1:30.5",
        "1:2": "x",
    }


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse_yaml("a: ü".encode("utf-8-sig")) == {"a": "ü"}


def test_an_empty_text_is_nothing() -> None:
    assert parse_yaml(b"# a comment\n") is None


def test_a_billion_laughs_are_counted_and_not_made() -> None:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    with pytest.raises(ValueError, match="written out, make more than 100000 values"):
        parse_yaml("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("&a [*a]", "contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: 1\nb: [", "line 2: "),
        ("a: !!python/name:os.system", "line 1: could not determine a constructor"),
        ("a: \0", "character 4 cannot be in it"),
        ("a: 2001-99-99", "month"),
        ("a: " + "9" * 5000, "digits"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        parse_yaml(b"a: \xff")
