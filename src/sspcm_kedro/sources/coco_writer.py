"""People and keypoints as COCO records, which other tools read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_category import person_category


def coco_content(
    people: Instances,
    file_names: Mapping[str, str],
    keypoints: np.ndarray,
    visibility: np.ndarray,
    skeleton: Skeleton,
    *,
    description: str,
    further: Mapping[str, Sequence[Any]] | None = None,
) -> Record:
    """What a COCO keypoint file says, ready for JSON; images and people in the order of the people.

    Args:
        people: the people (n); their own labels are not written.
        file_names: what to call each image file (``people.paths``).
        keypoints: (n, k, 2) image pixels.
        visibility: (n, k) 0 absent, 1 covered, 2 visible.
        skeleton: the k keypoints.
        description: what the file is.
        further: keys that each annotation has besides COCO's, with their n values.
    """
    images: dict[int, Record] = {}
    annotations = []
    for row in range(len(people)):
        height, width = people.image_hw[row].tolist()
        image_id, name = int(people.image_ids[row]), file_names[str(people.paths[row])]
        images[image_id] = {"id": image_id, "file_name": name, "height": height, "width": width}
        x0, y0, x1, y1 = people.boxes[row].astype(float).tolist()
        annotation = {
            "id": int(people.ids[row]),
            "image_id": image_id,
            "category_id": PERSON,
            "iscrowd": 0,
            "bbox": _rounded([x0, y0, x1 - x0, y1 - y0]),
            "area": round(float(people.areas[row]), 2),
            "segmentation": [],
            "num_keypoints": int((visibility[row] > 0).sum()),
            "keypoints": _triples(keypoints[row], visibility[row]),
        }
        annotations.append(annotation | {key: of[row] for key, of in (further or {}).items()})
    return {
        "info": {"description": description},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [person_category(skeleton)],
    }


def _triples(points: np.ndarray, visibility: np.ndarray) -> list[float]:
    triples: list[float] = []
    for xy, v in zip(points.astype(float).tolist(), visibility.tolist(), strict=True):
        triples += [*_rounded(xy), int(v)] if v else [0, 0, 0]
    return triples


def _rounded(numbers: list[float]) -> list[float]:
    return [round(number, 2) for number in numbers]
