"""Labeled people whom no teacher learns from, so that pseudo-labels can be measured on them."""

import numpy as np

from sspcm_kedro.seeds import Stream, stream_seed


def held_out_rows(people: int, share: float, seed: int) -> np.ndarray:
    """Rows, ascending, of the labeled people on whom pseudo-labels are measured.

    At least two people are held out, and at least as many are not, where there are four; of fewer,
    nobody.

    Args:
        people: how many are labeled.
        share: of them that is held out; 0 holds out nobody.
        seed: of the experiment.
    """
    count = min(max(2, round(share * people)), people // 2) if share and people >= 4 else 0
    rng = np.random.default_rng(stream_seed(seed, Stream.HELD_OUT))
    return np.sort(rng.permutation(people)[:count])
