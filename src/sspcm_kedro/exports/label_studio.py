"""Label Studio: tasks with predictions, and the labeling configuration that they belong to."""

import json
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.checks import Record

POINTS, BOXES, IMAGE = "keypoints", "boxes", "image"
"""The names of the controls and of the object in the configuration."""

POINT_SIZE = 0.6
"""Of a drawn point, in percent of the image's width."""

LOCAL = "/data/local-files/?d="
"""How Label Studio names files of its local storage."""


def export_label_studio(predictions: Predictions) -> dict[str, bytes]:
    """``label_studio.json``, tasks to import, and ``label_studio.xml``, the project's labeling
    configuration."""
    return {
        "label_studio.json": json.dumps(label_studio_tasks(predictions)).encode(),
        "label_studio.xml": labeling_config(predictions.skeleton).encode(),
    }


def labeling_config(skeleton: Skeleton) -> str:
    """The configuration: a label a keypoint, and a box for the one that they belong to."""
    labels = "".join(f"\n    <Label value={quoteattr(name)}/>" for name in skeleton.names)
    return f"""<View>
  <KeyPointLabels name="{POINTS}" toName="{IMAGE}" strokeWidth="2">{labels}
  </KeyPointLabels>
  <RectangleLabels name="{BOXES}" toName="{IMAGE}">
    <Label value={quoteattr(skeleton.category)}/>
  </RectangleLabels>
  <Image name="{IMAGE}" value="${IMAGE}"/>
</View>
"""


def label_studio_tasks(predictions: Predictions) -> list[Record]:
    """A task an image; each instance is a box, and its keypoints are the box's children.

    Places are in percent of the image's width and height, as Label Studio has them.
    """
    tasks: dict[str, Record] = {}
    names, scores = predictions.image_names(), predictions.instance_scores()
    for row, name in enumerate(names):
        if name not in tasks:
            result: list[Record] = []
            guess = {"model_version": "sspcm", "score": 1.0, "result": result}
            tasks[name] = {"data": {IMAGE: LOCAL + quote(name)}, "predictions": [guess]}
        guess = tasks[name]["predictions"][0]
        guess["score"] = min(guess["score"], round(float(scores[row]), 4))
        guess["result"] += _regions(predictions, row, float(scores[row]))
    return list(tasks.values())


def _regions(predictions: Predictions, row: int, score: float) -> list[Record]:
    """The box of one, and its keypoints."""
    height, width = map(int, predictions.image_hw[row])
    x0, y0, x1, y1 = predictions.spanned_boxes()[row].tolist()
    about = {"to_name": IMAGE, "original_width": width, "original_height": height,
             "image_rotation": 0}  # fmt: skip
    box = f"box{row + 1}"
    found: list[Record] = [{
        **about, "id": box, "from_name": BOXES, "type": "rectanglelabels",
        "score": round(score, 4),
        "value": {"x": 100 * x0 / width, "y": 100 * y0 / height,
                  "width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height,
                  "rotation": 0, "rectanglelabels": [predictions.skeleton.category]},
    }]  # fmt: skip
    present = predictions.present()[row]
    for part, label in enumerate(predictions.skeleton.names):
        if present[part]:
            x, y = predictions.keypoints[row, part].tolist()
            found.append({
                **about, "id": f"{box}_{part + 1}", "parentID": box, "from_name": POINTS,
                "type": "keypointlabels", "score": round(float(predictions.scores[row, part]), 4),
                "value": {"x": 100 * x / width, "y": 100 * y / height, "width": POINT_SIZE,
                          "keypointlabels": [label]},
            })  # fmt: skip
    return found
