"""How long the annotations of a large COCO file take to read, and how much memory.

    python benchmarks/annotations.py [--people 150000]

Writes a file of the form and size of COCO 2017's training part into a temporary folder: for every
person with keypoints there are 0.75 without (as there), every one has an outline, and the images
are empty files. Reads it in a process of its own and prints wall time, processor time and memory.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.coco_parts import CocoPart

PEOPLE_AN_IMAGE = 1.27  # 149813 people with keypoints on 118287 images
OTHERS = 0.75  # 262465 annotations
OUTLINE = 60  # numbers in an outline


def annotation(number: int, image: int, rng: np.random.Generator, labeled: bool) -> str:
    """One annotation as JSON, on an image of 640 x 480."""
    x, y, w, h = rng.uniform((0, 0, 20, 30), (300, 200, 300, 270)).round(2).tolist()
    outline = rng.uniform((x, y), (x + w, y + h), (OUTLINE // 2, 2)).round(2).ravel().tolist()
    keypoints = [0] * 51
    if labeled:
        points = rng.integers((x, y), (x + w, y + h), (17, 2))
        keypoints = np.column_stack([points, rng.integers(1, 3, 17)]).ravel().tolist()
    return json.dumps(
        {
            "segmentation": [outline], "num_keypoints": 17 * labeled, "area": round(w * h / 2, 4),
            "iscrowd": 0, "keypoints": keypoints, "image_id": image, "bbox": [x, y, w, h],
            "category_id": 1, "id": number,
        }
    )  # fmt: skip


def write(root: Path, people: int) -> Path:
    """The annotation file and its empty images."""
    rng = np.random.default_rng(0)
    count = max(1, round(people / PEOPLE_AN_IMAGE))
    (root / "images").mkdir()
    images = []
    for number in rng.permutation(count).tolist():
        name = f"{number:012d}.jpg"
        (root / "images" / name).touch()
        images.append({"license": 3, "file_name": name, "height": 480, "width": 640, "id": number,
                       "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                       "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e62_z.jpg",
                       "date_captured": "2013-11-15 02:41:42"})  # fmt: skip
    category = {"supercategory": "person", "id": 1, "name": "person",
                "keypoints": list(COCO.names), "skeleton": []}  # fmt: skip
    file = root / "person_keypoints_train2017.json"
    total = round(people * (1 + OTHERS))
    labeled = rng.permutation(total) < people
    with file.open("w") as out:
        out.write(f'{{"images": {json.dumps(images)}, "categories": {json.dumps([category])},')
        out.write('"annotations": [')
        for number in track(range(total), description="writing"):
            image = int(rng.integers(count))
            comma = ", " if number else ""
            out.write(comma + annotation(number + 1, image, rng, bool(labeled[number])))
        out.write("]}")
    return file


def read(file: Path) -> tuple[int, float, float, float, float]:
    """People, seconds, seconds on a processor, and MiB at most, before and while reading."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, busy = time.perf_counter(), time.process_time()
    part = CocoPart(annotations=Path(file.name), images=Path("images"))
    source = CocoSource(root=file.parent, train=part).read()  # with those whom evaluation ignores
    table = source.annotated.to_frame()
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(table), seconds, busy, before, peak


def main() -> None:
    """Write, read and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=150_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), options.people)
        megabytes = file.stat().st_size / 1e6
        # A fresh interpreter: what writing needed does not count as memory of reading.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            people, seconds, busy, before, peak = pool.apply(read, (file,))
    Console().print(
        f"{people} people from a file of {megabytes:.0f} MB: {seconds:.1f} s, {busy:.1f} s of them "
        f"on a processor; {peak:.0f} MiB at most ({before:.0f} MiB of them before reading)"
    )


if __name__ == "__main__":
    main()
