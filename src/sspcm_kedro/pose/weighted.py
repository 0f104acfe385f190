"""Scores with a weight for each image, which count an image of weight 2 as if it were there twice.

A bootstrap over images draws such weights again and again; predictions are matched once.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from sspcm_kedro.pose.coco_ap import match

_AT_ONCE = 2**21
"""Numbers in an array of ``WeightedAP``: with very many images it takes the rows in parts."""


class WeightedScore(Protocol):
    """A score of predictions on images."""

    @property
    def images(self) -> Shaped[np.ndarray, " images"]:
        """Ids of the images, ascending: what the columns of weights are of."""
        ...

    def of(self, weights: Real[np.ndarray, "b images"]) -> Float[np.ndarray, " b"]:
        """The score with each row of weights; nan where nothing is left to be found."""
        ...


@dataclass(frozen=True)
class WeightedShare:
    """A share: what is right over what counts, both summed over all images (PCK, PCKh).

    Attributes:
        images: ids, ascending.
        right: on each image; whole numbers, or their mean over thresholds (AI Challenger).
        counted: on each image.
    """

    images: Shaped[np.ndarray, " images"]
    right: Real[np.ndarray, " images"]
    counted: Real[np.ndarray, " images"]

    @classmethod
    def of_keypoints(
        cls, image_ids: Shaped[np.ndarray, " n"],
        hit: Bool[np.ndarray, "n k"], evaluated: Bool[np.ndarray, "n k"],
    ) -> "WeightedShare":  # fmt: skip
        """From what ``pck_hits`` says of n people on these images."""
        images, places = np.unique(image_ids, return_inverse=True)
        sums = [np.bincount(places, which.sum(axis=1), len(images)) for which in (hit, evaluated)]
        return cls(images, *sums)

    def of(self, weights: Real[np.ndarray, "b images"]) -> Float[np.ndarray, " b"]:
        """The score with each row of weights; nan where nothing is counted."""
        counted = weights @ self.counted
        share = np.full(len(weights), np.nan)
        return np.divide(weights @ self.right, counted, out=share, where=counted > 0)


@dataclass(frozen=True)
class WeightedAP:
    """COCO's AP (area "all"), from one matching by pycocotools.

    Source: ``COCOeval.accumulate``. Where whole numbers are the weights, it is the AP of the images
    repeated so often, exactly if no two detections of one image have equal scores (the order of
    equal ones is that of the images in both).

    Attributes:
        images: ids, ascending.
        people: how many there are to find on each image.
        places: the image of each detection, the detections by falling score.
        right: of each OKS threshold, whether the detection is a true positive.
        wrong: likewise, whether it is a false one; it is neither where it is ignored.
        recalls: at which precision is read.
    """

    images: Shaped[np.ndarray, " images"]
    people: Int[np.ndarray, " images"]
    places: Int[np.ndarray, " d"]
    right: Bool[np.ndarray, "t d"]
    wrong: Bool[np.ndarray, "t d"]
    recalls: Float[np.ndarray, " r"]

    @classmethod
    def of_people(cls, *arguments: Any) -> "WeightedAP":
        """From the arguments of ``coco_ap``."""
        images, evaluation = match(*arguments)
        parameters = evaluation.params
        thresholds, most = len(parameters.iouThrs), parameters.maxDets[-1]
        people = np.zeros(len(images), dtype=np.int64)
        places, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
        found, ignored = ([np.zeros((thresholds, 0), bool)] for _ in range(2))
        # Images vary fastest in it, and the first area range is "all".
        for place, image in enumerate(evaluation.evalImgs[: len(images)]):
            if image is None:  # nobody is there on either side
                continue
            people[place] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
            own = np.asarray(image["dtScores"], dtype=np.float64)[:most]
            places.append(np.full(len(own), place))
            scores.append(own)
            found.append(np.asarray(image["dtMatches"])[:, :most] > 0)
            ignored.append(np.asarray(image["dtIgnore"])[:, :most] > 0)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        matched, left_out = (np.concatenate(of, axis=1)[:, order] for of in (found, ignored))
        return cls(
            images, people, np.concatenate(places)[order], matched & ~left_out,
            ~matched & ~left_out, np.asarray(parameters.recThrs),
        )  # fmt: skip

    def of(self, weights: Real[np.ndarray, "b images"]) -> Float[np.ndarray, " b"]:
        """AP with each row of weights; nan where nobody is left to be found."""
        rows = max(1, _AT_ONCE // max(1, len(self.places)))
        starts = range(0, len(weights), rows)
        parts = [self._of(weights[start : start + rows]) for start in starts]
        return np.concatenate([np.zeros(0), *parts])

    def _of(self, weights: Real[np.ndarray, "b images"]) -> Float[np.ndarray, " b"]:
        people = (weights @ self.people).astype(np.float64)
        each = weights[:, self.places].astype(np.float64)
        total = np.zeros(len(weights))
        for right, wrong in zip(self.right, self.wrong, strict=True):
            true, false = np.cumsum(each * right, axis=1), np.cumsum(each * wrong, axis=1)
            precision = true / (true + false + np.spacing(1))
            best_after = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            ends = np.pad(best_after, ((0, 0), (0, 1)))  # a recall that is not reached has 0
            for row, there in enumerate(people):
                if there > 0:
                    reached = np.searchsorted(true[row] / there, self.recalls, side="left")
                    total[row] += ends[row, reached].mean()
        return np.where(people > 0, total / len(self.right), np.nan)
