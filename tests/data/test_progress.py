"""The bar counts on a terminal; elsewhere a line a minute does."""

import sys

from sspcm_kedro.data.progress import show_bytes, show_progress


def test_silent_where_no_terminal_is(capsys):
    assert list(show_progress(iter("abc"), 3, "looking")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_line_a_minute_where_no_terminal_is(monkeypatch, caplog):
    """Four items of half a minute each, and then one of ten."""
    ticks = iter([100.0, 100.0, 130.0, 160.0, 190.0, 790.0])
    monkeypatch.setattr("sspcm_kedro.data.progress.time.monotonic", lambda: next(ticks))
    with caplog.at_level("INFO"):
        assert list(show_progress(iter("abcde"), 10, "looking")) == list("abcde")
    assert [record.getMessage() for record in caplog.records] == [
        "looking: 2 of 10, 0.0333 a second, 4 min left",
        "looking: 4 of 10, 0.0058 a second, 17 min left",
    ]


def test_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(show_progress(iter("abc"), 3, "looking")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "looking" in err


def test_bytes_are_counted_on_a_terminal_only(capsys, monkeypatch):
    with show_bytes("fetching", 3_000_000, 1_000_000) as count:
        count(1_000_000)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with show_bytes("fetching", 3_000_000, 1_000_000) as count:
        count(1_000_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fetching" in err and "2.0/3.0 MB" in err
