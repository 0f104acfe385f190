"""A tiny COCO folder that the tests may break."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NAMES = ["left_wrist", "right_wrist", "nose"]


class CocoFolder:
    """Three images, listed 30, 10, 20, and five annotations; ``write`` puts them on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "people.json"
        self.images = root / "pictures"
        self.images.mkdir(parents=True)
        sizes = {30: (40, 60), 10: (50, 30), 20: (40, 40)}
        self.content: dict[str, Any] = {
            "images": [
                {"id": i, "file_name": f"{i}.jpg", "height": h, "width": w}
                for i, (h, w) in sizes.items()
            ],
            "annotations": [
                annotation(1, 10, [5, 6, 10, 20]),
                annotation(2, 30, [-4, 10, 20, 50]),
                annotation(3, 30, [1, 1, 9, 9], iscrowd=1),
                annotation(4, 20, [1, 1, 9, 9], keypoints=[0, 0, 0] * 3),
                annotation(5, 30, [2, 3, 4, 5], keypoints=[7, 8, 1, 9, 9, 0, 3, 4, 2]),
            ],
            "categories": [
                {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 3], [2, 3]]}
            ],
        }
        for i, (h, w) in sizes.items():
            Image.new("RGB", (w, h), (i, 0, 0)).save(self.images / f"{i}.jpg")

    def write(self, **changed: Any) -> Path:
        """Write the annotation file, with some top-level keys changed (None: left out)."""
        content = {**self.content, **changed}
        kept = {key: value for key, value in content.items() if value is not None}
        self.file.write_text(json.dumps(kept))
        return self.file


def annotation(annotation_id: int, image_id: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    """An annotation with two labeled keypoints and an area of 7."""
    record = {"id": annotation_id, "image_id": image_id, "category_id": 1, "bbox": bbox}
    return {**record, "area": 7.0, "iscrowd": 0, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0], **more}


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    """The folder, not yet written."""
    return CocoFolder(tmp_path / "coco")
