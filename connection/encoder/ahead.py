"""Prepares batches for a card in a thread of its own, while the card computes the batch before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    from ConnectionDataset import PackedBatch

    Batch = TypeVar("Batch", bound=PackedBatch)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches in their order, on the device; on a card, one is prepared in advance. Errors are raised at their place."""
    if device.type == "cpu":
        yield from batches
        return
    remaining = iter(batches)

    def prepare() -> Batch | None:
        batch = next(remaining, None)
        return None if batch is None else batch.to(device)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
        future = thread.submit(prepare)
        while (batch := future.result()) is not None:
            future = thread.submit(prepare)
            yield batch
