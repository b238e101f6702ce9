"""Test-time augmentation: views are what they are called, and boxes come back to where the object is."""

import pytest
import torch
from torch.nn import functional

from headstart.config.postprocess import Rule
from headstart.config.schema import Flip, Method
from headstart.data.batch import Batch, Detections
from headstart.detectors.augmented import View, over_views, seen, views_of
from tests.waiting import no_waiting

RULE = Rule(iou_threshold=0.5, score_threshold=0.0, max_detections=5)
OBJECTS = [(4, 6, 20, 14), (30, 2, 44, 30)]
"""Left, top, right, bottom: a white rectangle in a grey picture."""
SIZES = [(24, 40), (32, 48)]


def pictures() -> Batch:
    """On one canvas: the first has padding to the right and below."""
    images = [torch.full((3, *size), 60, dtype=torch.uint8) for size in SIZES]
    for image, (left, top, right, bottom) in zip(images, OBJECTS, strict=True):
        image[:, top:bottom, left:right] = 250
    return Batch.of(images)


def bright(batch: Batch, features: object = None) -> Detections:
    """Finds the rectangle, surely, in what it is shown; nothing else is white in a view without padding's edges."""
    boxes = []
    for image in batch.images:
        rows, columns = ((image[0] > 155).any(axis).nonzero() for axis in (1, 0))
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    shape = (len(boxes), 1)
    return Detections(
        torch.ones(shape).bool(), torch.tensor(boxes).float()[:, None], torch.ones(shape), torch.ones(shape).long()
    )


@pytest.mark.parametrize("flip", Flip)
def test_a_mirrored_picture_is_mirrored_within_its_own_size(flip):
    batch = pictures()
    batch.images.random_(generator=torch.Generator().manual_seed(0))
    view = seen(batch, View(flip=flip))
    for own, other, (height, width) in zip(batch.images, view.images, SIZES, strict=True):
        inside = own[:, :height, :width].flip(2 if flip is Flip.horizontal else 1)
        assert torch.equal(other[:, :height, :width], inside)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_a_scaled_picture_is_what_resizing_it_alone_gives_padding_or_not(scale):
    batch = pictures()
    batch.images.random_(generator=torch.Generator().manual_seed(0))
    view = seen(batch, View(scale))
    for own, other, (height, width), size in zip(batch.images, view.images, SIZES, view.sizes_hw, strict=True):
        assert size.tolist() == [int(height * scale), int(width * scale)]
        alone = own[None, :, :height, :width].float()
        wanted = functional.interpolate(alone, scale_factor=scale, mode="bilinear", antialias=True)[0]
        found = other[:, : wanted.shape[1], : wanted.shape[2]].float()
        # Where antialiasing reaches over the edge, there are the edge's own pixels in place of none.
        torch.testing.assert_close(found[:, :-2, :-2], wanted[:, :-2, :-2], atol=0.51, rtol=0)


@pytest.mark.parametrize(
    "view", [View(1.5), View(0.5, Flip.horizontal), View(2.0, Flip.vertical), View(1.0, Flip.vertical)]
)
def test_boxes_of_a_view_come_back_to_the_object(view):
    rule = Rule(0.5, 0.0, 5, flips=(view.flip,) if view.flip else (), scales=(view.scale,) if view.scale != 1 else ())
    assert views_of(rule)[-1] == view
    found = over_views(bright, pictures(), rule)
    assert found.present.sum(1).tolist() == [1, 1], "one object, from all views"
    torch.testing.assert_close(found.boxes_xyxy[:, 0], torch.tensor(OBJECTS).float(), atol=0.5, rtol=0)
    assert found.scores[:, 0].tolist() == [1, 1], "all views have found it"


def test_what_one_view_of_two_has_found_is_half_as_sure_by_fusion_and_as_sure_by_nms():
    calls = []

    def first_only(batch: Batch, features: object = None) -> Detections:
        calls.append(features)
        found = bright(batch)
        return found if len(calls) == 1 else found.map(torch.zeros_like)

    for across, score in ((Method.weighted_boxes_fusion, 0.5), (Method.nms, 1.0)):
        calls.clear()
        found = over_views(first_only, pictures(), Rule(0.5, 0.0, 5, flips=(Flip.horizontal,), across=across), "known")
        assert found.scores[:, 0].tolist() == [score, score]
        assert calls == ["known", None], "features are of the picture as it is"


def test_views_wait_for_no_device():
    found, batch = bright(pictures()), pictures()
    rule = Rule(0.5, 0.0, 5, flips=tuple(Flip), scales=(0.5, 1.5), across=Method.soft_nms)
    with no_waiting():
        over_views(lambda batch, features=None: found, batch, rule)
