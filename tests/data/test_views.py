"""Which augmentations are a finite set of views, and which view each epoch shows."""

from collections import Counter

import numpy as np
import pytest

from headstart.config.schema import AugmentConfig
from headstart.data.draws import image_keys, name_digests
from headstart.data.views import View, shown_in, views

KEYS = image_keys(0, 1, name_digests(map(str, range(20_000))))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [View()]),
        ({"hflip": 0.3}, [View(), View(flip_x=True)]),
        ({"hflip": 1.0}, [View(flip_x=True)]),
        ({"vflip": 0.5, "scales": [0.5]}, [View(False, False, 0.5), View(False, True, 0.5)]),
    ],
)
def test_views_are_all_flips_and_scales_that_are_ever_drawn(settings: dict, expected: list[View]) -> None:
    assert views(AugmentConfig(name="", **settings)) == tuple(expected)


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation", "hue", "crop", "scale_min"])
def test_colours_crops_and_ranges_of_scale_have_no_end_of_views(setting: str) -> None:
    assert views(AugmentConfig(name="", hflip=0.5, **{setting: 0.1})) is None


def test_each_view_is_shown_as_often_as_its_changes_are_drawn() -> None:
    config = AugmentConfig(name="", hflip=0.25, vflip=1.0, scales=[1.0, 0.75, 0.5])
    known = views(config)
    assert known is not None
    counts = Counter(known[number] for number in shown_in(config, KEYS))
    for view in known:
        expected = (0.25 if view.flip_x else 0.75) / 3
        assert counts[view] / len(KEYS) == pytest.approx(expected, abs=0.015)


def test_an_image_is_shown_in_other_views_in_other_epochs_and_in_the_same_in_the_same() -> None:
    config = AugmentConfig(name="", hflip=0.5, scales=[1.0, 0.75])
    digest = name_digests(["photo.jpg"])
    seen = [int(shown_in(config, image_keys(3, epoch, digest))[0]) for epoch in range(40)]
    assert set(seen) == {0, 1, 2, 3}
    assert seen == shown_in(config, image_keys(3, np.arange(40), np.repeat(digest, 40))).tolist()
