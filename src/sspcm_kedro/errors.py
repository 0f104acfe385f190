"""The one error users are meant to read."""


class BadInput(ValueError):
    """Input data break a rule. Says the file, the record, the rule and the remedy.

    Args:
        where: the file, and the record in it (``train.json, annotation 17``).
        rule: what must hold, and what was found instead.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, rule: str, remedy: str) -> None:
        super().__init__(f"{where}: {rule}. {remedy}")
