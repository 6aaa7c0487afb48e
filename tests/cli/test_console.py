"""Progress: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from distq.cli.console import PlainReporter, QuietReporter, RichReporter, duration, make_reporter


class Clock:
    """A clock that a test winds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def plain(steps, count, seconds_each):
    """Lines of a stage of steps * count images that takes seconds_each for every count."""
    stream, clock = io.StringIO(), Clock()
    reporter = PlainReporter(stream, clock)
    reporter.start("calibrate", steps * count, "images")
    for _ in range(steps):
        clock.now += seconds_each
        reporter.advance(count)
    reporter.finish()
    return stream.getvalue().splitlines()


def test_a_long_stage_gives_a_line_every_tenth():
    lines = plain(steps=1000, count=1, seconds_each=0.5)
    assert lines[0] == "calibrate: 1000 images"
    assert lines[1:] == [
        f"calibrate: {done}/1000 images, 2 images/s, {duration((1000 - done) / 2)} left"
        for done in lines_at(lines)
    ] + ["calibrate: 1000/1000 images, 2 images/s, took 8 min 20 s"]


def test_what_a_job_knows_of_the_time_left_goes_before_its_rate():
    stream, clock = io.StringIO(), Clock()
    reporter = PlainReporter(stream, clock)
    reporter.start("search", 10, "layers")
    clock.now = 20.0
    reporter.left(30.0)
    reporter.advance(5)
    reporter.start("search", 2, "layers")
    clock.now = 30.0
    reporter.advance(1)
    lines = stream.getvalue().splitlines()
    assert lines[1] == "search: 5/10 layers, 4 s/layer, 30 s left"
    assert lines[3] == "search: 1/2 layers, 10 s/layer, 10 s left"


def lines_at(lines):
    """How far each progress line but the last was."""
    return [int(line.split()[1].split("/")[0]) for line in lines[1:-1]]


def test_lines_come_neither_too_often_nor_too_seldom():
    quick = plain(steps=100, count=1, seconds_each=0.01)
    assert len(quick) == 2
    slow = lines_at(plain(steps=1000, count=1, seconds_each=5))
    assert slow == list(range(3, 1000, 3))


def test_the_end_is_said_once():
    lines = plain(steps=2, count=5, seconds_each=10)
    assert lines == [
        "calibrate: 10 images",
        "calibrate: 5/10 images, 2 s/image, 10 s left",
        "calibrate: 10/10 images, 2 s/image, took 20 s",
    ]


def test_plain_lines_have_no_control_characters():
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    reporter.start("tune", 2, "layers")
    reporter.line("layer [bold]conv1[/bold]")
    reporter.warn("odd")
    reporter.advance(2)
    reporter.finish()
    assert "layer [bold]conv1[/bold]\nwarning: odd\n" in stream.getvalue()
    assert all(character.isprintable() or character == "\n" for character in stream.getvalue())


def test_quiet_says_warnings_only():
    stream = io.StringIO()
    reporter = QuietReporter(stream)
    reporter.start("tune", 1, "layers")
    reporter.line("layer")
    reporter.warn("odd")
    reporter.advance()
    reporter.finish()
    assert stream.getvalue() == "warning: odd\n"


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    return Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)


def test_a_terminal_gets_a_bar_with_log_lines_above(terminal):
    reporter = RichReporter(terminal)
    reporter.start("tune", 2, "layers")
    reporter.line("layer [bold]conv1[/bold]")
    reporter.advance(2)
    reporter.finish()
    reporter.finish()
    text = terminal.file.getvalue()
    assert "layer [bold]conv1[/bold]" in text
    assert "2/2 layers" in text.split("\n")[-2]


def test_a_long_log_line_is_not_broken(terminal):
    line = "tuning end, layer: " + "x" * 200
    RichReporter(terminal).line(line)
    assert line in terminal.file.getvalue()


@pytest.mark.parametrize(
    ("quiet", "json", "terminal", "term", "kind"),
    [
        (False, False, True, "xterm", RichReporter),
        (False, False, True, "dumb", PlainReporter),
        (False, False, False, "xterm", PlainReporter),
        (False, True, True, "xterm", PlainReporter),
        (True, False, True, "xterm", QuietReporter),
    ],
)
def test_the_reporter_fits_where_it_prints(quiet, json, terminal, term, kind, monkeypatch):  # noqa: PLR0917  # a table's columns
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    assert type(make_reporter(quiet=quiet, json=json)) is kind


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (1, "1 s"), (59.6, "1 min 00 s"), (245, "4 min 05 s"), (4800, "1 h 20 min")],
)
def test_durations_are_said_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_a_stage_of_which_nobody_knows_the_end():
    stream = io.StringIO()
    reporter = PlainReporter(stream, clock=iter([0.0, 30.0, 30.0, 31.0]).__next__)
    reporter.start("record", 0, "samples")
    reporter.advance(3)
    reporter.finish()
    assert stream.getvalue() == "record: samples\nrecord: 3 samples, 10 s/sample, took 30 s\n"
