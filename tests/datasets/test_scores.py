"""Numbers as JSON that every reader takes."""

import json

from sspcm_kedro.datasets.scores import ScoresDataset


def test_what_is_no_number_is_null(tmp_path):
    file = tmp_path / "scores.json"
    nan, infinity = float("nan"), float("inf")
    dataset = ScoresDataset(filepath=str(file))
    dataset.save([{"round": 1, "rejected": nan, "deep": {"a": [infinity, -0.5]}, "name": "x"}])
    expected = [{"round": 1, "rejected": None, "deep": {"a": [None, -0.5]}, "name": "x"}]
    assert json.loads(file.read_text()) == dataset.load() == expected
    assert "NaN" not in file.read_text() and "Infinity" not in file.read_text()
