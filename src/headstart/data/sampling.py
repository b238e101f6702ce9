"""Which image comes when: decided by (seed, epoch) alone, however many processes share the work."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


def stable_seed(*parts: object) -> int:
    """A 63-bit seed from the parts' text: the same in every process, unlike `hash()`."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class EpochSampler(Sampler[tuple[int, int]]):
    """Gives `(epoch, index)` pairs: the index's place in the epoch, and the epoch for whoever augments the image.

    Rank r of W takes the places r, r + W, r + 2W … of one order, which is filled up from its start until every rank
    has equally many. So batch k of all ranks together is batch k of one process with W times the batch size.
    """

    def __init__(self, num_images: int, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1) -> None:
        self.num_images = num_images
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.num_images / self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order, epoch = self._order(), self.epoch
        for place in range(self.rank, len(self) * self.world_size, self.world_size):
            yield epoch, order[place % self.num_images]

    def _order(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.num_images))
        generator = torch.Generator().manual_seed(stable_seed(self.seed, self.epoch))
        return torch.randperm(self.num_images, generator=generator).tolist()


class OnOneCanvas(Sampler[list[tuple[int, int]]]):
    """Batches of what `sampler` gives whose pictures have the same own canvas: what is found in a picture then depends
    on no other, as in a prediction."""

    def __init__(self, sampler: EpochSampler, canvases: np.ndarray, batch_size: int) -> None:
        """`canvases`: (n,) numbers of each picture's."""
        self.sampler = sampler
        self.canvases = canvases
        self.batch_size = batch_size

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        groups: dict[int, list[tuple[int, int]]] = {}
        for epoch, index in self.sampler:
            groups.setdefault(int(self.canvases[index]), []).append((epoch, index))
        for group in groups.values():
            yield from (group[start : start + self.batch_size] for start in range(0, len(group), self.batch_size))
