"""The errors that users are meant to read."""

from typing import Any


class BadInput(ValueError):
    """Input data break a rule. Says the file, the record, the rule and the remedy.

    Args:
        where: the file, and the record in it (``train.json, annotation 17``).
        rule: what must hold, and what was found instead.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, rule: str, remedy: str) -> None:
        super().__init__(f"{_cut(str(where))}: {_cut(rule)}. {remedy}")


class Diverged(FloatingPointError):
    """A training's loss is not finite; says what to lower."""


def _cut(text: str, most: int = 600) -> str:
    """A text in one line of bearable length: values in files may be of any."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 100]} ... {text[-90:]}"


def shown(value: Any, most: int = 80) -> str:
    """A value as a message shows it: at most so many letters, and also where it has no text."""
    try:
        return f"{value!r:.{most}}"
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in itself
        return f"{type(value).__name__} that is too large to be shown"
