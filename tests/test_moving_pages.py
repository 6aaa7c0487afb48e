"""The pages for users of other tools name tests and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from distq.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "moving").glob("*.md"))


def test_there_is_a_page_for_every_tool_and_a_list_of_them() -> None:
    text = (ROOT / "docs" / "moving" / "README.md").read_text()
    listed = re.findall(r"^\| .*\]\((\w[\w-]*\.md)\) \|$", text, re.MULTILINE)
    assert sorted([*listed, "README.md"]) == sorted(page.name for page in PAGES)
    assert len(listed) == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text())
    assert named or page.name == "README.md"
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_of_a_command_exists(page: Path) -> None:
    group = typer.main.get_command(app)
    for line in re.findall(r"^    distq (.*)$", page.read_text(), re.MULTILINE):
        words = line.split()
        command = group
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= known, line
