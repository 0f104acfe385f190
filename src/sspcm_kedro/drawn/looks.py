"""Clothes, skin, hair: what a person wears and the color of a surface point."""

import colorsys
from dataclasses import dataclass

import numpy as np

from .settings import FloatArray

_PATTERNS = ("plain", "hoops", "pinstripes", "checks", "dots", "blotches")
_PATTERN_ODDS = np.array([0.44, 0.16, 0.09, 0.09, 0.07, 0.15])
_SKIN = np.array(
    [[245, 214, 190], [233, 190, 158], [208, 158, 122], [168, 118, 82], [120, 80, 56], [78, 52, 40]]
)
_HAIR = np.array([[30, 24, 22], [70, 46, 30], [120, 78, 44], [196, 160, 98], [150, 70, 40]])


@dataclass(frozen=True)
class Cloth:
    """A material: pattern, two (3,) colors 0..255, period in statures, extra thickness."""

    pattern: str
    base: FloatArray
    second: FloatArray
    period: float
    loose: float


@dataclass(frozen=True)
class Look:
    """Everything about a person's appearance.

    Attributes:
        skin, hair: (3,) colors 0..255.
        shirt, trousers, shoes: Materials.
        sleeve: Covered arm: 0 none, 1 to the elbow, 2 to the wrist.
        leg: Covered leg: 0 none, 1 to the knee, 2 to the ankle.
        skirt: Length in thighs, 0 = none.
        chest: Mark on the front: "none", "print", "jacket" (open) or "number".
        mark: (3,) color of that mark.
        back: (3,) color of the back panel or None.
        style: Hair: "short", "long", "bald", "bun", "tail", "cap".
        beard, glasses, bag: Whether these are there.
        tile: (64, 64) float32 smooth noise, mean 0, used for folds and blotches.
    """

    skin: FloatArray
    hair: FloatArray
    shirt: Cloth
    trousers: Cloth
    shoes: Cloth
    sleeve: float
    leg: float
    skirt: float
    chest: str
    mark: FloatArray
    back: FloatArray | None
    style: str
    beard: bool
    glasses: bool
    bag: bool
    tile: FloatArray


def random_color(rng: np.random.Generator, vivid: float = 0.6) -> FloatArray:
    """A (3,) color 0..255; greys, dark and pale tones are as common as vivid ones."""
    saturation = rng.uniform(0.35, 1.0) if rng.random() < vivid else rng.uniform(0.0, 0.25)
    value = rng.uniform(0.12, 1.0)
    return 255.0 * np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32)


def skin_color(rng: np.random.Generator) -> FloatArray:
    """A (3,) skin tone between the palette's neighbors."""
    place = rng.uniform(0.0, len(_SKIN) - 1.001)
    lower = int(place)
    tone = _SKIN[lower] + (place - lower) * (_SKIN[lower + 1] - _SKIN[lower])
    return (tone * rng.uniform(0.93, 1.05)).astype(np.float32)


def random_cloth(rng: np.random.Generator, loose: float) -> Cloth:
    """A random material; `loose` scales how far it stands off the body."""
    base = random_color(rng)
    second = random_color(rng) if rng.random() < 0.6 else base * rng.uniform(0.4, 0.75)
    pattern = str(rng.choice(_PATTERNS, p=_PATTERN_ODDS))
    period, stand_off = float(rng.uniform(0.025, 0.075)), loose * float(rng.gamma(2.0, 0.5))
    return Cloth(pattern, base, np.asarray(second, np.float32), period, stand_off)


def smooth_noise(rng: np.random.Generator, size: int = 64) -> FloatArray:
    """(size, size) float32 periodic noise of two octaves, mean 0, range about -1..1."""
    coarse = rng.standard_normal((size // 8, size // 8)).astype(np.float32)
    fine = rng.standard_normal((size // 2, size // 2)).astype(np.float32)
    noise = np.kron(coarse, np.ones((8, 8), np.float32))
    noise += 0.5 * np.kron(fine, np.ones((2, 2), np.float32))
    for axis in (0, 1):  # two box passes round off the blocks, wrapping at the border
        for shift in (1, 2):
            noise = 0.5 * (noise + np.roll(noise, shift, axis))
    return noise - noise.mean()


def sample_look(rng: np.random.Generator) -> Look:
    """Draws the appearance of one person."""
    skin = skin_color(rng)
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.6, 1.25)
    if rng.random() < 0.12:
        hair = np.full(3, rng.uniform(130, 215))
    shirt = random_cloth(rng, 0.007)
    trousers = random_cloth(rng, 0.006)
    if rng.random() < 0.15:  # overall or dress: one material
        trousers = shirt
    sleeve = float(rng.choice((0.0, rng.uniform(0.35, 0.8), rng.uniform(1.2, 2.0), 2.0)))
    if rng.random() < 0.05:
        shirt, sleeve = Cloth("plain", skin, skin, 1.0, 0.0), 0.0
    leg = 2.0 if rng.random() < 0.58 else float(rng.uniform(0.3, 1.5))
    skirt = float(rng.uniform(0.5, 1.15)) if rng.random() < 0.14 else 0.0
    styles = ("short", "long", "bald", "bun", "tail", "cap")
    return Look(
        skin=skin,
        hair=hair.astype(np.float32),
        shirt=shirt,
        trousers=trousers,
        shoes=random_cloth(rng, 0.003),
        sleeve=sleeve,
        leg=0.0 if skirt else leg,
        skirt=skirt,
        chest=str(rng.choice(("none", "print", "jacket", "number"), p=(0.4, 0.25, 0.25, 0.1))),
        mark=random_color(rng),
        back=random_color(rng) if rng.random() < 0.2 else None,
        style=str(rng.choice(styles, p=(0.4, 0.22, 0.08, 0.08, 0.1, 0.12))),
        beard=bool(rng.random() < 0.12),
        glasses=bool(rng.random() < 0.15),
        bag=bool(rng.random() < 0.12),
        tile=smooth_noise(rng),
    )


def cloth_color(cloth: Cloth, local: FloatArray, tile: FloatArray) -> FloatArray:
    """Colors of points of a material.

    Args:
        cloth: The material.
        local: (n, 3) points in the part's own axes (left, up, forward), in statures.
        tile: (64, 64) noise.

    Returns:
        (n, 3) float32 colors 0..255, with folds.
    """
    u, v, w = local[:, 0], local[:, 1], local[:, 2]
    turn = np.float32(2.0 * np.pi / cloth.period)
    cols = ((u + 0.6 * w) * 220.0).astype(np.int32) & 63
    rows = (v * 160.0).astype(np.int32) & 63
    folds = 1.0 + np.float32(0.14) * tile[rows, cols]
    pattern = cloth.pattern
    if pattern == "plain":
        return folds[:, None] * cloth.base
    if pattern == "hoops":
        share = (np.sin(turn * v) > 0.1).astype(np.float32)
    elif pattern == "pinstripes":
        share = (np.sin(1.3 * turn * (u + 0.5 * w)) > 0.45).astype(np.float32)
    elif pattern == "checks":
        share = 0.5 * (np.sin(turn * v) > 0).astype(np.float32)
        share += 0.5 * (np.sin(turn * (u + 0.5 * w)) > 0)
    elif pattern == "dots":
        share = (np.sin(turn * v) * np.sin(turn * (u + 0.5 * w)) > 0.55).astype(np.float32)
    else:  # blotches
        share = (tile[cols, rows] > 0.15).astype(np.float32)
    return (share[:, None] * (cloth.second - cloth.base) + cloth.base) * folds[:, None]
