"""Where the published sets are to be had, as far as that is known: facts, no code that fetches.

Sizes and checksums are COCO's alone: those that the lists of public projects have (TensorFlow
Datasets, pytorchcocotools; the size of image_info_unlabeled2017 is from one listing only). Where
there is none, an archive is held to the length
that its server announces and to the checksums inside it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput

FOLDERS = {"aic": "ai_challenger", "mpii_mat": "mpii"}
"""Below data/01_raw, where a set's folder is not called as the set is."""


@dataclass(frozen=True)
class Archive:
    """A zip or tar and what of it goes where.

    Attributes:
        url: where its owners have it.
        places: (pattern, target): members whose path ends as the pattern says go to the target, a
            folder of nothing else if it ends in "/", or else one file. Other members are left out.
        size: bytes.
        checksum: "sha256:..." or "md5:...".
        growth: unpacked bytes for each packed one, rather too many than too few; only the check of
            the free disk before fetching needs it. Images hardly shrink when packed, JSON does.
    """

    url: str
    places: tuple[tuple[str, str], ...]
    size: int | None = None
    checksum: str | None = None
    growth: float = 1.1

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def targets(self) -> tuple[str, ...]:
        """The files and folders it becomes, without a final "/"."""
        return tuple(dict.fromkeys(target.rstrip("/") for _, target in self.places))


@dataclass(frozen=True)
class ByHand:
    """Something that needs a request, an account or a browser.

    Attributes:
        what: it is called.
        where: it is to be had.
        into: the file or folder, relative to the set's root, that the reader expects.
        note: what else must be done to it.
    """

    what: str
    where: str
    into: str
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A piece of a set that can be left out, and the keys of ``source`` that it fills."""

    archives: tuple[Archive, ...] = ()
    by_hand: tuple[ByHand, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedSet:
    """A set: the ``source.kind`` that reads it, its parts, and those to fetch without further words
    (none named: all)."""

    kind: str
    parts: dict[str, Part]
    usual: tuple[str, ...] = ()


SetName = Literal[
    "coco", "mpii", "mpii_mat", "lspet", "lsp", "aic", "wepdtof_pose", "bkfisheye", "crowdpose",
    "ochuman",
]  # fmt: skip


class DownloadConfig(Settings):
    """What to fetch.

    Attributes:
        source: the set.
        root: the folder it becomes; the ``source.root`` of its reader.
        parts: names joined by "+", or a list; ``None``: the usual ones.
        mirror: the address of a folder that has the archives under their own names; ``None``: their
            owners' addresses.
        keep_archives: whether to keep them once they are unpacked.
    """

    source: SetName | None = None
    root: Path | None = None
    parts: tuple[str, ...] | None = None
    mirror: str | None = None
    keep_archives: bool = False

    @field_validator("parts", mode="before")
    @classmethod
    def _joined(cls, parts: Any) -> Any:
        """``--params`` takes every comma for the end of a parameter."""
        return parts.split("+") if isinstance(parts, str) else parts

    @field_validator("mirror")
    @classmethod
    def _on_the_web(cls, mirror: str | None) -> str | None:
        if mirror is not None and not mirror.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://, found {mirror!r}")
        return mirror

    def choose(self) -> "Download":
        """What that means.

        Raises:
            BadInput: no set or folder is named, or the set has no such part.
        """
        names = ", ".join(SETS)
        if self.source is None:
            remedy = (
                "kedro run --pipelines download --params download.source=NAME,download.root=DIR"
            )
            raise BadInput("parameter download.source", f"must name a set: {names}", remedy)
        if self.root is None:
            folder = FOLDERS.get(self.source, self.source)
            remedy = f"Add download.root=data/01_raw/{folder}, where the environments look"
            raise BadInput("parameter download.root", "must name the folder to fill", remedy)
        chosen = SETS[self.source]
        parts = self.parts or chosen.usual or tuple(chosen.parts)
        for name in parts:
            if name not in chosen.parts:
                rule = f"{self.source} has no part {name!r}"
                remedy = f"Choose among {', '.join(chosen.parts)}, joined by '+'"
                raise BadInput("parameter download.parts", rule, remedy)
        return Download(
            name=self.source,
            kind=chosen.kind,
            root=self.root,
            parts=tuple(chosen.parts[name] for name in dict.fromkeys(parts)),
            mirror=self.mirror,
            keep_archives=self.keep_archives,
        )


@dataclass(frozen=True)
class Download:
    """Chosen parts of a set and the folder they go to."""

    name: str
    kind: str
    root: Path
    parts: tuple[Part, ...]
    mirror: str | None = None
    keep_archives: bool = False

    @property
    def archives(self) -> tuple[Archive, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(archive for part in self.parts for archive in part.archives))

    @property
    def by_hand(self) -> tuple[ByHand, ...]:
        """What nobody can fetch for the user."""
        return tuple(item for part in self.parts for item in part.by_hand)

    def url(self, archive: Archive) -> str:
        """Where to fetch an archive."""
        return f"{self.mirror.rstrip('/')}/{archive.name}" if self.mirror else archive.url

    def source(self) -> dict[str, Any]:
        """The parameter ``source`` that reads those parts which are there."""
        keys = {key: value for part in self.parts for key, value in part.source.items()}
        there = {
            key: value
            for key, value in keys.items()
            if all((self.root / path).exists() for path in value.values())
        }
        return {"kind": self.kind, "root": str(self.root), **there}


# The sets ----------------------------------------------------------------------------------------

_COCO = "http://images.cocodataset.org/"
_COCO_DETECTIONS = "person_detection_results/"


def _coco_images(name: str, size: int, checksum: str) -> Archive:
    return Archive(
        f"{_COCO}zips/{name}.zip", ((f"{name}/*.jpg", f"images/{name}/"),), size, checksum
    )


def _coco_list(archive: str, names: tuple[str, ...], size: int, checksum: str) -> Archive:
    places = tuple((f"annotations/{name}.json", f"annotations/{name}.json") for name in names)
    return Archive(f"{_COCO}annotations/{archive}.zip", places, size, checksum, growth=8)


COCO_2017 = PublishedSet(
    kind="coco",
    usual=("annotations", "train2017", "val2017"),
    parts={
        "annotations": Part((_coco_list(
            "annotations_trainval2017",
            ("person_keypoints_train2017", "person_keypoints_val2017"), 252907541,
            "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"),)),
        "train2017": Part(
            (_coco_images(
                "train2017", 19336861798,
                "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),),
            source={"train": {"annotations": "annotations/person_keypoints_train2017.json",
                              "images": "images/train2017"}}),
        "val2017": Part(
            (_coco_images(
                "val2017", 815585330,
                "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),),
            source={"validation": {"annotations": "annotations/person_keypoints_val2017.json",
                                   "images": "images/val2017"}}),
        "unlabeled2017": Part(
            (_coco_list(
                "image_info_unlabeled2017", ("image_info_unlabeled2017",), 4902013,
                "md5:ede38355d5c3e5251bb7f8b68e2c068f"),
             _coco_images("unlabeled2017", 20126613414, "md5:7ebc562819fdb32847aab79530457326")),
            (ByHand(
                "COCO_unlabeled2017_detections_person_faster_rcnn.json",
                "the cloud folder that the README of github.com/xierc/Semi_Human_Pose links",
                f"{_COCO_DETECTIONS}COCO_unlabeled2017_detections_person_faster_rcnn.json",
                "the results of any person detector on unlabeled2017 in the same form serve as "
                "well, but are not the published protocol"),),
            {"unlabeled": {
                "annotations": "annotations/image_info_unlabeled2017.json",
                "images": "images/unlabeled2017",
                "detections":
                    f"{_COCO_DETECTIONS}COCO_unlabeled2017_detections_person_faster_rcnn.json"}}),
        "test2017": Part(
            (_coco_list(
                "image_info_test2017", ("image_info_test-dev2017",), 1144034,
                "sha256:e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8"),
             _coco_images(
                "test2017", 6646970404,
                "sha256:c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba")),
            (ByHand(
                "COCO_test-dev2017_detections_AP_H_609_person.json",
                "https://drive.google.com/drive/folders/1fRUDNUDxe9fjqcRZ2bnF_TKMlO0nB_dk "
                "(folder of HRNet-Human-Pose-Estimation)",
                f"{_COCO_DETECTIONS}COCO_test-dev2017_detections_AP_H_609_person.json"),),
            {"test": {
                "annotations": "annotations/image_info_test-dev2017.json",
                "images": "images/test2017",
                "detections":
                    f"{_COCO_DETECTIONS}COCO_test-dev2017_detections_AP_H_609_person.json"}}),
    },
)  # fmt: skip
"""cocodataset.org. The default parts are all that runs with few labels need."""

_MPII = "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr/"
_MPII_IMAGES = Part((Archive(f"{_MPII}mpii_human_pose_v1.tar.gz", (("images/*.jpg", "images/"),)),))
_MPII_JSON = Archive(
    "https://download.openmmlab.com/mmpose/datasets/mpii_annotations.tar",
    (("mpii_train.json", "annot/train.json"), ("mpii_val.json", "annot/valid.json"),
     ("mpii_test.json", "annot/test.json"), ("mpii_gt_val.mat", "annot/gt_valid.mat")),
)  # fmt: skip
_MPII_MAT = Archive(
    f"{_MPII}mpii_human_pose_v1_u12_2.zip",
    (("mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_1.mat"),),
    growth=8,
)
_LSP = "https://sam.johnson.io/research/"
_LSP_PLACES = (("images/im*.jpg", "images/"), ("joints.mat", "joints.mat"))


def _fisheye(name: str, where: str) -> PublishedSet:
    note = "its COCO files are numbered from 0; keep them as they come"
    parts = ("annotations/person_keypoints_train2017.json",
             "annotations/person_keypoints_val2017.json",
             "images/train2017", "images/val2017")  # fmt: skip
    by_hand = tuple(ByHand(f"{name}, {part}", where, f"coco/{part}", note) for part in parts)
    return PublishedSet("fisheye", {"all": Part(by_hand=by_hand)})


_AIC = (
    "github.com/AIChallenger/AI_Challenger_2017, or dataset AI_Challenger of OpenXLab (with an "
    "account), which mmpose's 'mim download mmpose --dataset aic' fetches"
)
_OCHUMAN = "https://cg.cs.tsinghua.edu.cn/dataset/form.html?dataset=ochuman (a form to fill in)"

SETS: dict[str, PublishedSet] = {
    "coco": COCO_2017,
    "mpii": PublishedSet("mpii", {"annotations": Part((_MPII_JSON,)), "images": _MPII_IMAGES}),
    "mpii_mat": PublishedSet(
        "mpii_mat", {"annotations": Part((_MPII_MAT,)), "images": _MPII_IMAGES}
    ),
    "lspet": PublishedSet(
        "lspet", {"all": Part((Archive(f"{_LSP}lspet_dataset.zip", _LSP_PLACES),))}
    ),
    "lsp": PublishedSet("lsp", {"all": Part((Archive(f"{_LSP}lsp_dataset.zip", _LSP_PLACES),))}),
    "aic": PublishedSet("aic", {
        "train": Part(by_hand=(
            ByHand("ai_challenger_keypoint_train, folder keypoint_train_images_20170902", _AIC,
                   "train/images", "rename the folder"),
            ByHand("ai_challenger_keypoint_train, keypoint_train_annotations_20170909.json", _AIC,
                   "train/keypoint_train_annotation.json",
                   "rename the file; the aic_annotations that mmpose offers are converted and of "
                   "kind coco"))),
        "validation": Part(
            by_hand=(
                ByHand("ai_challenger_keypoint_validation_20170911, folder "
                       "keypoint_validation_images_20170911", _AIC, "validation/images",
                       "rename the folder"),
                ByHand("ai_challenger_keypoint_validation_20170911, "
                       "keypoint_validation_annotations_20170911.json", _AIC,
                       "validation/keypoint_validation_annotation.json", "rename the file")),
            source={"validation": {
                "annotations": "validation/keypoint_validation_annotation.json",
                "images": "validation/images"}}),
    }),
    "wepdtof_pose": _fisheye(
        "WEPDTOF-Pose",
        "the Baidu folder that the README of github.com/hlz0606/SSPCM links (with an account)"),
    "bkfisheye": _fisheye(
        "BKFisheye", "its authors (those of SSPCM, CVPR 2023): no address is published"),
    "crowdpose": PublishedSet("crowdpose", {
        "annotations": Part((Archive(
            "https://download.openmmlab.com/mmpose/datasets/crowdpose_annotations.tar",
            tuple((f"mmpose_crowdpose_{part}.json", f"annotations/mmpose_crowdpose_{part}.json")
                  for part in ("trainval", "test"))),)),
        "images": Part(by_hand=(ByHand(
            "images.zip of CrowdPose",
            "https://drive.google.com/file/d/1VprytECcLtU4tKP32SYi_7oDRbw7yUTL "
            "(linked in github.com/Jeff-sjtu/CrowdPose)", "images"),)),
    }),
    "ochuman": PublishedSet("ochuman", {"all": Part(by_hand=(
        ByHand("images of OCHuman", _OCHUMAN, "images"),
        ByHand("ochuman_coco_format_val_range_0.00_1.00.json", _OCHUMAN,
               "annotations/ochuman_coco_format_val_range_0.00_1.00.json")))}),
}  # fmt: skip
"""By the name that ``download.source`` takes.

The images of HR-LSPET (hr-lspet.zip of the MPI) are PNG files whose keypoints go by their sorted
names and not by their numbers, so no reader here can take it for LSP-extended.
"""
