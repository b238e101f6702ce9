"""The order of images: the same whatever the number of processes."""

from itertools import chain, zip_longest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.sampling import EpochSampler, OnOneCanvas, stable_seed


def batches(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def indices(sampler: EpochSampler) -> list[int]:
    return [index for _, index in sampler]


@given(
    num_images=st.integers(1, 40),
    world_size=st.integers(1, 4),
    batch_size=st.integers(1, 5),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_batch_k_of_all_ranks_is_batch_k_of_one_process(
    num_images: int, world_size: int, batch_size: int, epoch: int, shuffle: bool
) -> None:
    one = EpochSampler(num_images, 7, shuffle)
    ranks = [EpochSampler(num_images, 7, shuffle, rank, world_size) for rank in range(world_size)]
    for sampler in (one, *ranks):
        sampler.set_epoch(epoch)
    whole = indices(one)
    padded = whole + [whole[i % num_images] for i in range(-num_images % world_size)]
    of_ranks = zip_longest(*(batches(indices(sampler), batch_size) for sampler in ranks))
    together = [sorted(chain(*parts)) for parts in of_ranks]
    assert together == [sorted(batch) for batch in batches(padded, batch_size * world_size)]
    assert len({len(sampler) for sampler in ranks}) == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_holds_every_image_once(shuffle: bool) -> None:
    assert sorted(indices(EpochSampler(29, 0, shuffle))) == list(range(29))


def test_without_shuffling_the_order_is_kept() -> None:
    assert list(EpochSampler(3, 0, shuffle=False)) == [(0, 0), (0, 1), (0, 2)]


def test_the_order_changes_with_the_epoch_and_the_seed_and_with_nothing_else() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, seed, shuffle=True)
        sampler.set_epoch(epoch)
        return indices(sampler)

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4


def test_each_index_carries_its_epoch() -> None:
    sampler = EpochSampler(5, 0, shuffle=True)
    sampler.set_epoch(3)
    assert {epoch for epoch, _ in sampler} == {3}


def test_a_seed_is_the_same_in_every_process() -> None:
    """`printf 1/2/a.jpg | b2sum -l 64`, without its last bit: Python's own `hash` differs from process to process."""
    assert stable_seed(1, 2, "a.jpg") == 0x4A46BB1EC4966732 >> 1


def test_batches_of_an_evaluation_have_pictures_of_one_canvas_each_once_in_the_epoch_of_the_sampler():
    sampler = EpochSampler(7, 0, shuffle=False)
    found = OnOneCanvas(sampler, np.array([0, 2, 0, 0, 2, 2, 1]), batch_size=2)
    sampler.set_epoch(3)  # Lightning asks a batch sampler for its `sampler`
    assert list(found) == [[(3, 0), (3, 2)], [(3, 3)], [(3, 1), (3, 4)], [(3, 5)], [(3, 6)]]
    assert len(found) == 5
