"""Pose sampling: which joint angles people take (standing, running, sitting, reaching, ...)."""

import numpy as np

from .skeleton3d import LIMITS, Angles

Spread = tuple[float, float]  # mean, standard deviation in degrees

_ARMS: dict[str, tuple[Spread, Spread, Spread, Spread]] = {
    # mode: raise, plane, twist, elbow
    "hang": ((9, 6), (25, 35), (15, 20), (16, 12)),
    "raised": ((150, 18), (35, 35), (0, 30), (25, 25)),
    "sideways": ((88, 18), (5, 18), (-10, 35), (25, 25)),
    "flexed": ((80, 20), (10, 20), (-65, 15), (95, 25)),
    "forward": ((75, 20), (88, 18), (0, 25), (30, 25)),
    "akimbo": ((42, 9), (-12, 12), (60, 12), (98, 14)),
    "folded": ((32, 10), (62, 18), (68, 10), (98, 14)),
    "phone": ((28, 12), (50, 20), (15, 20), (118, 15)),
    "behind": ((26, 10), (-38, 10), (72, 8), (70, 25)),
    "to_face": ((55, 20), (70, 25), (10, 30), (128, 12)),
}
_ARM_ODDS = np.array([0.24, 0.13, 0.09, 0.09, 0.1, 0.08, 0.07, 0.1, 0.05, 0.05])


def clamp_to_limits(angles: Angles) -> Angles:
    """The same angles, each moved into its joint limits."""
    return {
        name: float(min(max(value, LIMITS[name][0]), LIMITS[name][1])) if name in LIMITS else value
        for name, value in angles.items()
    }


def neutral_angles() -> Angles:
    """Upright, arms hanging, facing +z."""
    return {name: 0.0 for name in LIMITS} | {"body_pitch": 0.0, "body_yaw": 0.0}


def sample_angles(rng: np.random.Generator, variety: float = 1.0) -> Angles:
    """Draws one pose.

    Legs and arms are drawn from separate modes, so that their product is broad; one varied pose in
    twelve lies down (the whole body pitched by about 90 degrees).

    Args:
        rng: Randomness.
        variety: Probability that the legs do anything; otherwise they stand or walk.

    Returns:
        All names of LIMITS within the limits, plus body_pitch and body_yaw.
    """
    angles = neutral_angles()

    def normal(mean: float, spread: float) -> float:
        return mean + spread * float(rng.standard_normal())

    angles.update(
        spine_flex=normal(4, 7), spine_side=normal(0, 7), spine_twist=normal(0, 12),
        neck_flex=normal(4, 11), neck_side=normal(0, 7), neck_turn=normal(0, 24),
        body_pitch=normal(0, 4),
    )  # fmt: skip
    varied = rng.random() < variety
    upright = {"stand": 0.65, "walk": 0.35}
    odds = [chance if varied else upright.get(mode, 0.0) for mode, (_, chance) in _LEGS.items()]
    legs = str(rng.choice(list(_LEGS), p=odds))
    _LEGS[legs][0](angles, rng)
    if legs in ("walk", "run") and rng.random() < 0.6:
        _swing_arms(angles, rng, legs)
    else:
        mode = ""
        for side in "lr":
            if side == "l" or rng.random() < 0.55:
                mode = str(rng.choice(list(_ARMS), p=_ARM_ODDS))
            values = (normal(*spread) for spread in _ARMS[mode])
            names = ("arm_raise", "arm_plane", "arm_twist", "elbow")
            for name, value in zip(names, values, strict=True):
                angles[f"{name}_{side}"] = value
    if varied and rng.random() < 0.08:
        angles["body_pitch"] = float(rng.choice((-1.0, 1.0))) * normal(85, 10)
        angles["neck_flex"] = normal(-10, 15)
    return clamp_to_limits(angles)


def _set_leg(angles: Angles, side: str, flex: float, abd: float, knee: float, ankle: float) -> None:
    named = {"hip_flex": flex, "hip_abd": abd, "knee": knee, "ankle": ankle}
    angles.update({f"{name}_{side}": value for name, value in named.items()})


def _turn_out_feet(angles: Angles, rng: np.random.Generator) -> None:
    for side in "lr":
        angles[f"hip_rot_{side}"] = float(rng.normal(8, 9))


def _set_standing(angles: Angles, rng: np.random.Generator) -> None:
    stance = abs(float(rng.normal(4, 6)))
    for side in "lr":
        bent = abs(float(rng.normal(0, 9)))
        _set_leg(angles, side, bent * 0.6 + float(rng.normal(0, 4)), stance, bent, 0.0)
    _turn_out_feet(angles, rng)


def _set_strides(angles: Angles, rng: np.random.Generator, low: float, high: float) -> None:
    """One leg forward, the other back with a bent knee; a run bends both more."""
    front, back = ("l", "r") if rng.random() < 0.5 else ("r", "l")
    step = float(rng.uniform(low, high))
    fast = high > 45
    _set_leg(angles, front, step, 2, float(rng.uniform(0, 1.2) * step * (1.2 if fast else 0.4)), 0)
    back_knee = float(rng.uniform(25, 105) if fast else rng.uniform(8, 50))
    _set_leg(angles, back, -0.6 * step, 2, back_knee, -15)


def _set_walking(angles: Angles, rng: np.random.Generator) -> None:
    _set_strides(angles, rng, 10, 32)


def _set_running(angles: Angles, rng: np.random.Generator) -> None:
    _set_strides(angles, rng, 28, 75)
    angles["body_pitch"] = float(rng.normal(10, 6))


def _swing_arms(angles: Angles, rng: np.random.Generator, legs: str) -> None:
    """Arms swing against the legs, elbows bent in a run."""
    for side, other in (("l", "r"), ("r", "l")):
        swing = angles[f"hip_flex_{other}"] * float(rng.uniform(0.6, 1.1))
        angles[f"arm_raise_{side}"] = abs(swing) + 8
        angles[f"arm_plane_{side}"] = 78.0 if swing > 0 else -50.0
        angles[f"arm_twist_{side}"] = float(rng.normal(20, 12))
        angles[f"elbow_{side}"] = float(rng.normal(*(88, 16) if legs == "run" else (22, 12)))


def _set_sitting(angles: Angles, rng: np.random.Generator) -> None:
    flex, knee = float(rng.normal(86, 12)), float(rng.normal(85, 24))
    crossed = rng.random() < 0.2
    abd = float(rng.normal(10, 9))
    for side in "lr":
        _set_leg(angles, side, flex + rng.normal(0, 6), abd, knee + rng.normal(0, 12), 0)
    if crossed:
        _set_leg(angles, "l", flex + 14, -14, knee - 10, -15)
    angles["spine_flex"] = float(rng.normal(8, 13))
    angles["body_pitch"] = float(rng.normal(-6, 9))


def _set_squatting(angles: Angles, rng: np.random.Generator) -> None:
    flex, knee, abd = (float(rng.uniform(*span)) for span in ((75, 120), (85, 140), (5, 32)))
    for side in "lr":
        _set_leg(angles, side, flex + rng.normal(0, 8), abd, knee + rng.normal(0, 8), 20)
    _turn_out_feet(angles, rng)
    if rng.random() < 0.35:  # kneeling on one leg
        _set_leg(angles, "r" if rng.random() < 0.5 else "l", 5, 3, 95, -40)
    angles["spine_flex"] = float(rng.normal(18, 12))
    angles["body_pitch"] = float(rng.uniform(5, 35))


def _set_jumping(angles: Angles, rng: np.random.Generator) -> None:
    for side in "lr":
        knee = float(rng.uniform(10, 110))
        _set_leg(angles, side, 0.6 * knee + rng.normal(0, 15), rng.uniform(0, 40), knee, -35)


def _set_lunging(angles: Angles, rng: np.random.Generator) -> None:
    front, back = ("l", "r") if rng.random() < 0.5 else ("r", "l")
    deep = float(rng.uniform(40, 95))
    _set_leg(angles, front, deep, rng.uniform(0, 30), deep * rng.uniform(0.7, 1.15), 5)
    _set_leg(angles, back, -25, rng.uniform(0, 25), rng.uniform(5, 70), -20)
    angles["body_pitch"] = float(rng.normal(12, 12))


def _set_kicking(angles: Angles, rng: np.random.Generator) -> None:
    _set_standing(angles, rng)
    side = "l" if rng.random() < 0.5 else "r"
    _set_leg(angles, side, rng.uniform(30, 110), rng.uniform(-5, 50), rng.uniform(0, 60), -20)
    angles["body_pitch"] = float(rng.normal(-10, 10))


def _set_bending(angles: Angles, rng: np.random.Generator) -> None:
    """Bows forward from hips and back; the legs stay about upright."""
    angles["body_pitch"] = pitch = float(rng.uniform(15, 65))
    angles["spine_flex"] = float(rng.uniform(10, 60))
    for side in "lr":
        knee = abs(float(rng.normal(12, 18)))
        _set_leg(angles, side, pitch + 0.5 * knee, rng.uniform(0, 15), knee, 0)


def _set_freely(angles: Angles, rng: np.random.Generator) -> None:
    """Any leg angles in the middle three quarters of their limits."""
    for joint in ("hip_flex", "hip_abd", "hip_rot", "knee", "ankle"):
        for name in (f"{joint}_l", f"{joint}_r"):
            low, high = LIMITS[name]
            angles[name] = float(rng.uniform(0.9 * low, low + 0.85 * (high - low)))


_LEGS = {
    # mode: what sets its angles, its odds among varied poses
    "stand": (_set_standing, 0.24),
    "walk": (_set_walking, 0.15),
    "run": (_set_running, 0.12),
    "sit": (_set_sitting, 0.15),
    "squat": (_set_squatting, 0.07),
    "jump": (_set_jumping, 0.06),
    "lunge": (_set_lunging, 0.06),
    "kick": (_set_kicking, 0.04),
    "bend": (_set_bending, 0.07),
    "free": (_set_freely, 0.04),
}
