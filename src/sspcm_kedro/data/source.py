"""What every source gives: parts of people with one skeleton, told apart by ids."""

from dataclasses import dataclass

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.pose.skeleton import Skeleton


@dataclass(frozen=True)
class Source:
    """All people of a source. Ids are unique over the parts; no part shares validation's images.

    Attributes:
        skeleton: the keypoints of every part.
        annotated: people with labels, in file order.
        validation: the source's own validation people, if it has some.
        unlabeled: people without labels, if it has some.
        hidden_truth: the unlabeled people, same order, with their labels where they are known
            (visibility 0 where not). Only ever compared with, never trained on.
        test: people to hand in predictions for, without labels, if it has some.
        ignored: on images of the validation people (of the annotated ones, where there are none to
            validate on) those whom the set's own evaluation ignores. Without labels; only ever
            evaluated with.
    """

    skeleton: Skeleton
    annotated: Instances
    validation: Instances | None = None
    unlabeled: Instances | None = None
    hidden_truth: Instances | None = None
    test: Instances | None = None
    ignored: Instances | None = None
