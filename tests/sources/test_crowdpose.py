"""CrowdPose: no areas, left before right, and limbs of another skeleton in the file."""

import json

import numpy as np
import pytest

from formats import pictures, save_json, write_crowdpose
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import CROWDPOSE
from sspcm_kedro.sources.crowdpose import CrowdposeSource, read_crowdpose


def test_the_whole_folder(tmp_path):
    shown = pictures(2, 1, people=3)
    source = CrowdposeSource.model_validate(write_crowdpose(tmp_path, shown, pictures(1, 2))).read()
    assert source.skeleton is CROWDPOSE
    drawn = shown[1].people[2].triples(CROWDPOSE)
    assert source.annotated.visibility[5].tolist() == drawn[:, 2].tolist()
    x0, y0, x1, y1 = shown[1].people[2].box
    np.testing.assert_allclose(source.annotated.areas[5], 0.53 * (x1 - x0) * (y1 - y0), rtol=1e-5)
    assert len(source.validation) == 1
    assert source.test is None


def test_detections_of_the_test_part(tmp_path):
    record = write_crowdpose(tmp_path, pictures(2, 1), pictures(2, 2))
    found = [{"image_id": 100003, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.25}]
    save_json(tmp_path / "annotations" / "det_for_crowd_test_0.1_0.5.json", found)
    test = {"annotations": "annotations/mmpose_crowdpose_test.json", "images": "images",
            "detections": "annotations/det_for_crowd_test_0.1_0.5.json"}  # fmt: skip
    source = CrowdposeSource.model_validate({**record, "test": test}).read()
    assert source.test.box_scores.tolist() == [0.25]
    assert source.test.source_image_ids.tolist() == ["100003"]
    assert source.test.keypoints.shape == (1, 14, 2)


@pytest.mark.parametrize("names", [["top_head", "neck"], ["head_top", "neck"]])
def test_the_head_has_several_names(tmp_path, names):
    write_crowdpose(tmp_path, pictures(1, 1), pictures(1, 2))
    file = tmp_path / "annotations" / "mmpose_crowdpose_test.json"
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"][12:] = names
    file.write_text(json.dumps(content))
    assert len(read_crowdpose(file, tmp_path / "images")[0]) == 1


def test_other_keypoints_are_refused(tmp_path):
    write_crowdpose(tmp_path, pictures(1, 1), pictures(1, 2))
    file = tmp_path / "annotations" / "mmpose_crowdpose_test.json"
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"].reverse()
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"test\.json, category 1: the keypoints must be.*as kind"):
        read_crowdpose(file, tmp_path / "images")
