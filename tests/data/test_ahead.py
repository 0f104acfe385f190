"""Reading ahead: while a batch is used the next are read; order, errors and endings."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from sspcm_kedro.data import ahead
from sspcm_kedro.data.ahead import AHEAD, Read, read_ahead
from sspcm_kedro.errors import BadInput

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; none asserts how long anything took."""


def readers() -> list[threading.Thread]:
    """Threads that read."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("crops")]


def reads(numbers, task=lambda number: None):
    """A batch of two reads for each number, whose task writes it."""

    def fill(number: int, out: torch.Tensor) -> None:
        task(number)
        out.fill_(number)

    for number in numbers:
        pair = torch.zeros(2), torch.zeros(3)
        yield [Read(out, [partial(fill, number, out)]) for out in pair]


def test_the_next_batches_are_read_while_a_step_goes_on():
    """The device is a step that ends only once the next batches have been read: without reading
    ahead it would wait for ever."""
    total = 8
    read = [threading.Event() for _ in range(total)]
    order = []
    for step, _ in enumerate(read_ahead(reads(range(total), lambda n: read[n].set()), 2)):
        for later in range(step, min(step + AHEAD + 1, total)):
            assert read[later].wait(PATIENCE), f"step {step} waits for batch {later} in vain"
        order.append(step)
    assert order == list(range(total))


def test_no_more_than_a_few_batches_are_held():
    """The step never ends before the reader has come as far as it goes."""
    taken = []

    def counted():
        for number, batch in enumerate(reads(range(20))):
            taken.append(number)
            yield batch

    batches = read_ahead(counted(), 2)
    for step in range(10):
        next(batches)
        assert len(taken) == step + AHEAD + 1
    batches.close()


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_come_in_order_whatever_is_read_first(workers):
    """With several threads the first batch is read last."""
    later = threading.Event()

    def task(number: int) -> None:
        if workers > 1 and number == 0:
            assert later.wait(PATIENCE)
        if number == 1:
            later.set()

    found = [[part.tolist() for part in batch] for batch in read_ahead(reads(range(5), task), 4)]
    assert found == [[[n] * 2, [n] * 3] for n in range(5)]


def test_an_error_comes_when_its_batch_does_and_ends_the_threads():
    def task(number: int) -> None:
        if number == 2:
            raise BadInput("a.jpg", "must decode", "Copy it again")

    batches = read_ahead(reads(range(9), task), 2)
    assert [next(batches)[0][0].item() for _ in range(2)] == [0, 1]
    with pytest.raises(BadInput, match=r"a\.jpg"):
        next(batches)
    assert not readers()


def test_closing_cancels_what_is_not_begun_and_leaves_no_thread(monkeypatch):
    """What is begun ends only after the rest has been cancelled."""
    begun, second, cancelled = [], threading.Event(), threading.Event()

    class Watched(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait, cancel_futures=cancel_futures)
            if cancel_futures:
                cancelled.set()

    def task(number: int) -> None:
        begun.append(number)
        if number == 1:
            second.set()
            assert cancelled.wait(PATIENCE)

    monkeypatch.setattr(ahead, "ThreadPoolExecutor", Watched)
    batches = read_ahead(reads(range(9), task), 1)
    next(batches)
    assert second.wait(PATIENCE)
    batches.close()
    assert begun == [0, 0, 1] and not readers()
