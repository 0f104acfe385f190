"""The bar counts on a terminal and is silent elsewhere."""

import sys

from sspcm_kedro.data.progress import show_bytes, show_progress


def test_silent_where_no_terminal_is(capsys):
    assert list(show_progress(iter("abc"), 3, "looking")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


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
