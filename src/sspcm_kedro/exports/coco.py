"""COCO keypoint files of predictions."""

import json

from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_category import person_category

VISIBLE = 2


def export_coco(predictions: Predictions) -> dict[str, bytes]:
    """``predictions_coco.json``: images, annotations with scores, and the category."""
    return {"predictions_coco.json": json.dumps(coco_predictions(predictions)).encode()}


def coco_predictions(predictions: Predictions) -> Record:
    """What the file says. ``score`` is the mean of ``keypoint_scores``; a keypoint that is not
    there is three zeros; ``track_id`` counts from 1; frames name their ``video`` and ``frame``."""
    names, present = predictions.image_names(), predictions.present()
    ids = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    images: dict[int, Record] = {}
    annotations: list[Record] = []
    scores, boxes = predictions.instance_scores(), predictions.spanned_boxes()
    for row, name in enumerate(names):
        height, width = map(int, predictions.image_hw[row])
        image: Record = {"id": ids[name], "file_name": name, "height": height, "width": width}
        if predictions.frames is not None:
            image |= {"video": predictions.files[row], "frame": int(predictions.frames[row])}
        images[ids[name]] = image
        triples: list[float] = []
        for (x, y), there in zip(predictions.keypoints[row].tolist(), present[row], strict=True):
            triples += [round(x, 3), round(y, 3), VISIBLE] if there else [0, 0, 0]
        x0, y0, x1, y1 = boxes[row].tolist()
        track = -1 if predictions.tracks is None else int(predictions.tracks[row])
        annotations.append({
            "id": row + 1, "image_id": ids[name], "category_id": PERSON, "iscrowd": 0,
            "bbox": [round(value, 3) for value in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 3), "num_keypoints": int(present[row].sum()),
            "keypoints": triples, "score": round(float(scores[row]), 4),
            "keypoint_scores": [round(float(score), 4) if there else 0
                                for score, there in zip(predictions.scores[row], present[row],
                                                        strict=True)],
            **({} if track < 0 else {"track_id": track + 1}),
        })  # fmt: skip
    return {"images": list(images.values()), "annotations": annotations,
            "categories": [person_category(predictions.skeleton)]}  # fmt: skip
