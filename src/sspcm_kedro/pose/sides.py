"""Left and right in the names of keypoints, however they are spelled."""

import re
from collections.abc import Iterator, Sequence

Words = tuple[str, ...]

_OPPOSITE = {"left": "right", "l": "r", "right": "left", "r": "l"}
_SIDE = {"l": "left", "r": "right"}
_SHORT = {"sho": "shoulder", "elb": "elbow", "wri": "wrist", "kne": "knee", "ank": "ankle"}
_PARTS = frozenset({"eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"})
_BOUNDARY = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])"
)


def flip_pairs_from_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Index pairs (left, right) of names that differ only by their side.

    Sides are words (left_hip, "Left Hip", l_hip, hip_l, leftHip, eyeL, Shoulder.L), or stand at the
    start of the name (leftear, lshoulder, Lsho) or at its end (earleft).
    """
    index = {_words(name): i for i, name in enumerate(names)}
    pairs: dict[int, int] = {}
    for words, left in index.items():
        mirrored = (other for side, _, other in _readings(words) if side in ("left", "l"))
        right = next((index[other] for other in mirrored if other in index), None)
        if right is not None and right not in pairs.values():
            pairs[left] = right
    return tuple(pairs.items())


def lone_sides(names: Sequence[str]) -> tuple[str, ...]:
    """The names that say a side as a word of theirs (left_paw) and have no partner of the other."""
    paired = {keypoint for pair in flip_pairs_from_names(names) for keypoint in pair}
    return tuple(
        name
        for keypoint, name in enumerate(names)
        if keypoint not in paired and set(_words(name)) & set(_OPPOSITE)
    )


def coco_name(name: str) -> str:
    """What COCO calls a keypoint: left_shoulder for Lsho; of other keypoints the plain name."""
    words = _words(name)
    for side, rest, _ in _readings(words):
        part = _SHORT.get(rest[0], rest[0]) if len(rest) == 1 else None
        if part in _PARTS:
            return f"{_SIDE.get(side, side)}_{part}"
    return "_".join(words)


def _words(name: str) -> Words:
    """The words of a name, without capitals: left, shoulder for leftShoulder."""
    return tuple(word for word in re.split(r"[\W_]+", _BOUNDARY.sub(" ", name).lower()) if word)


def _readings(words: Words) -> Iterator[tuple[str, Words, Words]]:
    """Each way to read a side: the side, the other words, all words with the other side.

    The surest comes first.
    """
    for place, word in enumerate(words):
        if word in _OPPOSITE:
            before, after = words[:place], words[place + 1 :]
            yield word, (*before, *after), (*before, _OPPOSITE[word], *after)
    for side, other in _OPPOSITE.items():
        if words and words[0].startswith(side) and len(words[0]) > len(side) + 1:
            rest = words[0].removeprefix(side)
            yield side, (rest, *words[1:]), (other + rest, *words[1:])
        if words and len(side) > 1 and words[-1].endswith(side) and words[-1] != side:
            rest = words[-1].removesuffix(side)
            yield side, (*words[:-1], rest), (*words[:-1], rest + other)
