"""Progress is for people: a bar on a terminal, few lines elsewhere."""

from __future__ import annotations

import io

from twisted.internet.task import Clock

from mmr.cli.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_whole_lines_only() -> None:
    out = io.StringIO()
    bar = ProgressBar("rows", 10, out)
    for _ in range(10):
        bar.add(1)
    bar.clear()
    bar.finish()
    assert out.getvalue() == "rows: 10 of about 10 (100%)\n"


def test_a_terminal_gets_a_bar() -> None:
    out = Terminal()
    bar = ProgressBar("rows", 4, out)
    bar.add(2)
    bar.finish()
    assert out.getvalue().startswith("\r[###############               ] rows: 2")


def test_an_unknown_or_wrong_total_does_no_harm() -> None:
    out = io.StringIO()
    bar = ProgressBar("rows", 0, out)
    bar.add(7)
    bar.finish()
    over = ProgressBar("rows", 1, out)
    over.add(7)
    over.finish()
    assert out.getvalue() == "rows: 7\nrows: 7 of about 1 (100%)\n"


def test_the_recent_rate_tells_how_long_the_rest_takes() -> None:
    out = io.StringIO()
    clock = Clock()
    bar = ProgressBar("rows", 10_000, out, clock.seconds)
    clock.advance(10)
    bar.add(100)
    assert out.getvalue() == (
        "rows: 100 of about 10000 (1%), 10 a second, 16 min left\n"
    )


def test_what_was_skipped_long_ago_is_not_in_the_rate() -> None:
    out = io.StringIO()
    clock = Clock()
    bar = ProgressBar("rows", 1_000_060, out, clock.seconds)
    bar.add(1_000_000)
    for _ in range(50):
        clock.advance(10)
        bar.add(1)
    assert out.getvalue().splitlines()[-1].endswith("0.1 a second, 2 min left")


def test_an_unknown_total_has_a_rate_and_no_time_left() -> None:
    out = io.StringIO()
    clock = Clock()
    bar = ProgressBar("rows", 0, out, clock.seconds)
    clock.advance(10)
    bar.add(5)
    assert out.getvalue() == "rows: 5, 0.5 a second\n"


def test_a_terminal_shows_hours() -> None:
    out = Terminal()
    clock = Clock()
    bar = ProgressBar("rows", 72_001, out, clock.seconds)
    clock.advance(1)
    bar.add(1)
    assert out.getvalue().endswith("(0%), 1 a second, 20.0 h left\x1b[K")
