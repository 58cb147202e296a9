"""Progress is for people: a bar on a terminal, few lines elsewhere."""

from __future__ import annotations

import io

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
