"""Which image comes when: decided by (seed, epoch) alone, however many processes share the work."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

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
