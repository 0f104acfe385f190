"""The bar counts on a terminal and is silent elsewhere."""

import sys

from sspcm_kedro.data.progress import show_progress


def test_silent_where_no_terminal_is(capsys):
    assert list(show_progress(iter("abc"), 3, "looking")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(show_progress(iter("abc"), 3, "looking")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "looking" in err
