"""Images in memory to keypoints in image pixels: batches over frames, as they come.

Nothing is kept but a few batches: the frames may be those of a video of hours. While the network
computes, a thread takes the next frames (decoding happens there) and others cut the people out.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sspcm_kedro.data.crops import cut_people
from sspcm_kedro.data.views import normalize
from sspcm_kedro.engine.determinism import explain_nondeterminism
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.predict import from_crops, locate
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods.base import eval_mode

BATCH = 32
"""People that the network sees at once; more are no faster on a CPU."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class FrameKeypoints(NamedTuple):
    """Of the n people of one frame: keypoints (n, k, 2) in image pixels, scores (n, k), and
    probabilities of being right (n, k), nan where they were not measured; float32."""

    keypoints: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray


class _Cut(NamedTuple):
    """One frame's people: their boxes (n, 4), image pixels, and crops (n, 3, H, W), uint8."""

    boxes: np.ndarray
    crops: Tensor


def predict_frames(
    model: TrainedModel,
    frames: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    flip_test: bool,
    device: torch.device,
    batch: int = BATCH,
    workers: int = 2,
) -> Iterator[FrameKeypoints]:
    """The keypoints of the people of each frame, frame by frame.

    The crops are those of ``data.crops.Crops`` to the bit, whatever the batches are.

    Args:
        model: predicts; its ``view`` says how people are cut out.
        frames: uint8 RGB (H, W, 3) and the boxes (n, 4) of its people, x0, y0, x1, y1 in image
            pixels; nobody (0, 4) is fine. They are taken in another thread, a few ahead.
        flip_test: average with the mirrored view.
        device: where to compute; the network is moved there.
        batch: people at once, over as many frames as it takes; 1 is one by one.
        workers: threads that cut people out.

    Raises:
        BadInput: a frame or a box is not as said; names the frame, from 0.
    """
    network = model.network.to(device)

    def look(crops: Tensor) -> tuple[Tensor, Tensor]:
        if not len(crops):
            size = model.skeleton.size
            return torch.zeros(0, size, 2), torch.zeros(0, size)
        with eval_mode(network), explain_nondeterminism():
            views = normalize(crops.to(device).float() / 255)
            views = views.contiguous(memory_format=torch.channels_last)
            xy, scores = locate(
                network, views, model.skeleton, model.view.codec, flip_test=flip_test
            )
        return xy.cpu(), scores.cpu()

    def cut(item: tuple[int, tuple[np.ndarray, np.ndarray]]) -> _Cut:
        return _cut_frame(model, item[0], *item[1])

    cuts = map_ahead(cut, enumerate(frames), workers)
    for some in read_ahead(_batches(cuts, batch)):
        parts = [look(crops) for crops in torch.cat([c.crops for c in some]).split(batch)]
        sizes = [len(c.boxes) for c in some]
        keypoints, scores = (torch.cat(part).split(sizes) for part in zip(*parts, strict=True))
        for (boxes, _), xy, score in zip(some, keypoints, scores, strict=True):
            yield FrameKeypoints(
                from_crops(xy, boxes, model.view.frame), score.numpy(),
                model.probabilities(score.numpy(), flip_test=flip_test),
            )  # fmt: skip


def _cut_frame(model: TrainedModel, index: int, image: np.ndarray, boxes: np.ndarray) -> _Cut:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        rule = f"must be uint8 RGB (height, width, 3), got {image.dtype} of {image.shape}"
        raise BadInput(f"frame {index}", rule, "Convert it, e.g. PIL.Image.convert('RGB')")
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        rule = f"must be (people, 4): x0, y0, x1, y1 in image pixels, got {boxes.shape}"
        raise BadInput(f"boxes of frame {index}", rule, "Give each person a row")
    try:
        crops = cut_people(Image.fromarray(image), boxes, model.view.frame, model.view.border)
    except ValueError as error:
        raise BadInput(f"boxes of frame {index}", str(error), "Leave such boxes out") from error
    return _Cut(boxes, crops)


def _batches(cuts: Iterable[_Cut], batch: int) -> Iterator[list[_Cut]]:
    """Frames together of which the people fill a batch, or of so many frames; at least one."""
    some: list[_Cut] = []
    for cut in cuts:
        people = sum(len(c.boxes) for c in some)
        if some and (people + len(cut.boxes) > batch or len(some) >= batch):
            yield some
            some = []
        some.append(cut)
    if some:
        yield some


def read_ahead(items: Iterable[Item], most: int = 2) -> Iterator[Item]:
    """The same items, taken in a thread of their own, at most so many ahead."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        taken = deque(pool.submit(next, iterator, end) for _ in range(most))
        try:
            while (item := taken.popleft().result()) is not end:
                taken.append(pool.submit(next, iterator, end))
                yield item  # pyright: ignore[reportReturnType]
        finally:
            pool.shutdown(cancel_futures=True)


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """The function of each item, in order; as many at once as there are threads for it."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
