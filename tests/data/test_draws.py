"""A draw is a function of (seed, epoch, image, number)."""

import numpy as np
import pytest

from headstart.data.draws import image_keys, name_digests, uniforms

KEYS = image_keys(7, 3, name_digests(f"{i}.jpg" for i in range(20_000)))


def test_numbers_are_those_of_splitmix64() -> None:
    """The first five of seed 1234567, as Rosetta Code lists them for the generator's C reference."""
    reference = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    ours = uniforms(np.array([1234567], np.uint64), 5)
    assert ours.tolist() == [[(number >> 11) / 2**53 for number in reference]]


def test_numbers_are_even_and_unrelated_between_images_and_places() -> None:
    drawn = uniforms(KEYS, 8)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean(0) == pytest.approx(0.5, abs=0.01)  # five standard errors: 5 * 0.289 / sqrt(20000)
    assert drawn.var(0) == pytest.approx(1 / 12, abs=0.003)
    places = np.corrcoef(drawn.T) - np.eye(8)
    images = np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]
    assert np.abs([*places.ravel(), images]).max() < 0.04


def test_a_number_is_the_same_whatever_is_drawn_beside_it() -> None:
    drawn = uniforms(KEYS[:9], 12)
    assert uniforms(KEYS[4:5], 3, first=7).tolist() == drawn[4:5, 7:10].tolist()


def test_keys_differ_by_seed_epoch_and_image() -> None:
    digests = name_digests(["a", "b"])
    keys = [image_keys(seed, epoch, digests) for seed in (0, 1, -1, 2**40) for epoch in range(50)]
    assert len(np.unique(keys)) == 4 * 50 * 2
    assert image_keys(1, np.array([4, 9]), digests).tolist() == [
        image_keys(1, 4, digests)[0],
        image_keys(1, 9, digests)[1],
    ]
