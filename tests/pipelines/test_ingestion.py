"""The pipeline on a catalog in memory, with really drawn people."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner

from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.datasets.drawn_folder import DrawnFolderDataset
from sspcm_kedro.datasets.instances import InstancesDataset, PartsDataset
from sspcm_kedro.datasets.skeleton import SkeletonDataset
from sspcm_kedro.drawn import DrawnSettings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.ingestion import create_pipeline
from sspcm_kedro.pipelines.ingestion.nodes import choose_frames, draw_people
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources import CocoSource, DrawnSource, SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig

CONF = Path(__file__).parents[2] / "conf" / "base"
TABLES = ("labeled", "unlabeled", "validation", "hidden_truth", "ignored")
LOOK = DrawnSettings(image_hw=(64, 48), person_px=(40, 44), people=(2, 2), supersample=1)
DRAWN = DrawnSource(annotated=3, unlabeled=2, validation=2, look=LOOK)


def run(source, split: SplitConfig, folder: Path) -> dict:
    """All that the pipeline writes, read back from its files."""
    params = {"source": SourceConfig(source), "split": split, "seed": 1,
              "annotation_import": AnnotationImportConfig()}  # fmt: skip
    catalog = DataCatalog({f"params:{key}": MemoryDataset(value) for key, value in params.items()})
    catalog["resume_images"] = MemoryDataset(None)
    catalog["drawn_folder"] = DrawnFolderDataset(str(folder))
    for name in TABLES:
        catalog[name] = InstancesDataset(filepath=str(folder.parent / f"{name}.parquet"))
    catalog["instances"] = PartsDataset(filepath=str(folder.parent / "instances.parquet"))
    catalog["skeleton"] = SkeletonDataset(filepath=str(folder.parent / "skeleton.json"))
    drawn = source.kind == "drawn"
    SequentialRunner().run(create_pipeline(drawn=drawn), catalog)
    return {name: catalog[name].load() for name in (*TABLES, "instances", "skeleton")}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict:
    """One run on drawn people."""
    return run(DRAWN, SplitConfig(labeled=2), tmp_path_factory.mktemp("raw") / "drawn")


def test_instances_hold_every_part(outputs):
    counts = {part: len(set(people.paths)) for part, people in outputs["instances"].items()}
    assert counts == {"annotated": 3, "validation": 2, "unlabeled": 2, "hidden_truth": 2}
    assert outputs["skeleton"] == COCO


def test_split_tables(outputs):
    people = {name: outputs[name] for name in TABLES[:4]}
    first = next(iter(outputs["instances"].values()))
    assert people["labeled"].ids.tolist() == first.ids.tolist()[:2]
    assert people["labeled"].visibility.any(axis=1).all()
    assert people["validation"].visibility.any(axis=1).all()
    assert not people["unlabeled"].visibility.any()
    assert not people["unlabeled"].keypoints.any()
    np.testing.assert_array_equal(people["unlabeled"].ids, people["hidden_truth"].ids)
    assert people["hidden_truth"].visibility.any()
    trained = {*people["labeled"].paths, *people["unlabeled"].paths}
    assert not trained & {*people["validation"].paths}


def test_nobody_to_ignore_is_a_table_without_rows(outputs):
    assert len(outputs["ignored"]) == 0
    assert outputs["ignored"].keypoints.shape == (0, 17, 2)
    columns = list(
        outputs["validation"].to_frame().drop(columns="crc32")
    )  # no image is read for it
    assert list(outputs["ignored"].to_frame()) == columns


def test_a_drawn_folder_is_a_coco_source(tmp_path):
    folder = tmp_path / "drawn"
    split = SplitConfig(labeled=2, validation=1)
    drawn = run(DRAWN, split, folder)
    part = {"annotations": "annotations/person_keypoints_train.json", "images": "images/train"}
    read = run(CocoSource.model_validate({"root": folder, "train": part}), split, folder)
    tables = [people["labeled"].to_frame() for people in (read, drawn)]
    pd.testing.assert_frame_equal(*tables)
    assert list(read["instances"]) == ["annotated"]
    assert set(read["validation"].paths) <= {str(folder / "images/train/000002.jpg")}


def test_a_second_run_does_not_draw(tmp_path):
    run(DRAWN, SplitConfig(labeled=2), tmp_path / "drawn")
    written = (tmp_path / "drawn" / "fingerprint.json").stat().st_mtime_ns
    run(DRAWN, SplitConfig(labeled=1), tmp_path / "drawn")
    assert (tmp_path / "drawn" / "fingerprint.json").stat().st_mtime_ns == written


def test_broken_images_stop_the_run(tmp_path):
    run(DRAWN, SplitConfig(labeled=2), tmp_path / "drawn")
    (tmp_path / "drawn" / "images" / "val" / "000001.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"000001\.jpg: must be as it was drawn.*: node 'draw'"):
        run(DRAWN, SplitConfig(labeled=2), tmp_path / "drawn")


def test_only_drawn_sources_are_drawn():
    record = {"kind": "lspet", "root": "."}
    with pytest.raises(BadInput, match=r"parameter source: .*got 'lspet'.*drawn=False"):
        draw_people(SourceConfig.model_validate(record), 0)


def test_only_sources_with_videos_have_frames():
    record = {"kind": "lspet", "root": "."}
    with pytest.raises(BadInput, match=r"parameter source: .*got 'lspet'.*videos=False"):
        choose_frames(SourceConfig.model_validate(record))


def test_wiring_matches_the_catalog():
    catalog = yaml.safe_load((CONF / "catalog_ingestion.yml").read_text())
    pipeline = create_pipeline(drawn=True) + create_pipeline(videos=True).only_nodes(
        "choose_frames"
    )
    params = {f"params:{name}" for name in ("source", "seed", "split", "annotation_import")}
    assert pipeline.datasets() - set(catalog) == params
    assert [node.short_name for node in create_pipeline(drawn=True).nodes] == [
        "draw", "read", "split"]  # fmt: skip
    assert [node.short_name for node in create_pipeline(videos=True).nodes] == [
        "choose_frames", "read", "split"]  # fmt: skip
    assert [node.short_name for node in create_pipeline(drawn=False).nodes] == ["read", "split"]


def test_shipped_parameters_are_valid():
    parameters = yaml.safe_load((CONF / "parameters_ingestion.yml").read_text())
    source = SourceConfig.model_validate(parameters["source"]).root
    assert isinstance(source, DrawnSource)
    assert (source.annotated, source.unlabeled, source.validation) == (1100, 200, 450)
    assert SplitConfig.model_validate(parameters["split"]) == SplitConfig(labeled=100)
