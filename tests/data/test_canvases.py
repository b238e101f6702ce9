"""The few shapes of batches that a run has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.canvases import Canvases, Padding

sides = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(st.lists(sides, min_size=1, max_size=9), st.sampled_from([Padding(), Padding(32), Padding(1, 50)]), st.data())
def test_a_batch_lies_on_the_smallest_of_at_most_three_canvases_that_hold_every_picture(
    sizes: list[tuple[int, int]], padding: Padding, data: st.DataObject
) -> None:
    canvases = Canvases.of(np.array(sizes), padding)
    assert 1 <= len(canvases.sides_hw) <= 3
    chosen = data.draw(st.lists(st.sampled_from(sizes), min_size=1))
    holding = [
        (height, width) for height, width in canvases.sides_hw if all(h <= height and w <= width for h, w in chosen)
    ]
    found = canvases.of_batch(np.array(chosen))
    assert found in holding
    assert found[0] * found[1] == min(height * width for height, width in holding)


def test_lying_and_standing_pictures_have_a_canvas_each_and_one_together() -> None:
    """30 x 40 and 24 x 40 lie, 40 x 30 stands; a network that halves five times wants multiples of 32."""
    sizes = np.array([[30, 40], [24, 40], [40, 30], [30, 30]])
    assert str(Canvases.of(sizes)) == "30 x 40, 40 x 30, 40 x 40"
    assert str(Canvases.of(sizes, Padding(32))) == "32 x 64, 64 x 32, 64 x 64"
    assert str(Canvases.of(sizes, Padding(1, 35))) == "35 x 40, 40 x 35, 40 x 40"


@pytest.mark.parametrize("sizes", [[[30, 40]], [[30, 40], [20, 40]], [[40, 30]], [[24, 24]]])
def test_pictures_of_one_aspect_have_one_canvas(sizes: list[list[int]]) -> None:
    assert Canvases.of(np.array(sizes)).sides_hw == (tuple(np.max(sizes, axis=0)),)
