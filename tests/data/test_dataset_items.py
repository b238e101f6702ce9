"""Items of a split, and batches of them."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config.schema import AugmentConfig, Resize, ShapesConfig
from headstart.data import shapes
from headstart.data.dataset import DetectionDataset
from headstart.data.types import AnnotatedImage, Size

MIN_SIZE, MAX_SIZE = 60, 80
SIZE = Size(MIN_SIZE, MAX_SIZE)
STRETCHED = Size(96, 96, Resize.stretch)
SCALE = AugmentConfig(name="scale", scale_min=0.6, scale_max=1.6)


def still(array: np.ndarray, boxes: list[list[float]]) -> AnnotatedImage:
    """Every second object is a crowd, every third difficult; areas are 0.5, 1.5 …"""
    return AnnotatedImage(
        "a",
        lambda: PIL.Image.fromarray(array),
        (array.shape[1], array.shape[0]),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.arange(len(boxes)),
        np.arange(len(boxes)) % 2 == 1,
        np.arange(len(boxes)) % 3 == 2,
        np.arange(len(boxes)) + 0.5,
    )


def test_a_target_is_the_annotation_in_resized_pixels() -> None:
    """A 200x133 image becomes 80x53: x times 0.4, y times 53/133 (and not 0.4)."""
    image = still(np.zeros((133, 200, 3), dtype=np.uint8), [[10, 0, 110, 133], [0, 66.5, 200, 133], [0, 0, 50, 133]])
    pixels, target = DetectionDataset([image, image], SIZE)[1]
    assert (tuple(pixels.shape), pixels.dtype) == ((3, 53, 80), torch.uint8)
    assert target.boxes_xyxy.dtype == torch.float32
    expected = [[4, 0, 44, 53], [0, 26.5, 80, 53], [0, 0, 20, 53]]
    assert target.boxes_xyxy.tolist() == [pytest.approx(box) for box in expected]
    assert target.labels.tolist() == [0, 1, 2]
    assert target.crowd.tolist() == [False, True, False]
    assert target.difficult.tolist() == [False, False, True]
    assert target.ignore.tolist() == [False, True, True]
    assert (target.area.dtype, target.area.tolist()) == (torch.float32, [0.5, 1.5, 2.5])
    assert (target.image_id, target.original_hw, target.image_hw) == (1, (133, 200), (53, 80))


def test_a_batch_holds_the_samples_and_images_of_any_size_and_without_boxes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    images = [still(noise, [[1, 2, 3, 4]]), still(noise[:50], []), still(noise[:, :30], [[0, 0, 1, 1], [5, 5, 9, 9]])]
    dataset = DetectionDataset(images, SIZE)
    samples, batch = [dataset[i] for i in range(3)], dataset.__getitems__([0, 1, 2])
    assert len(batch) == 3
    assert batch.targets.present.sum(1).tolist() == [1, 0, 2]
    for (pixels, target), (image, packed) in zip(samples, batch.per_image(), strict=True):
        assert torch.equal(pixels, image)
        assert target.per_object().keys() == packed.per_object().keys()
        assert all(torch.equal(rows, packed.per_object()[name]) for name, rows in target.per_object().items())
        assert (target.image_id, target.image_hw, target.original_hw) == (
            packed.image_id,
            packed.image_hw,
            packed.original_hw,
        )


def test_a_batch_of_a_hundred_images_is_eight_blocks_of_memory() -> None:
    """Each block that a worker hands over is an open file, of which a process usually may have 1024."""
    image = still(np.zeros((60, 80, 3), dtype=np.uint8), [[1, 2, 3, 4]])
    batch = DetectionDataset([image] * 100, SIZE).__getitems__(range(100))
    tensors = [batch.images, batch.sizes_hw, *vars(batch.targets).values()]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors) == 8


def test_a_batch_moves_with_everything_that_is_said_of_its_objects() -> None:
    image = still(np.zeros((60, 80, 3), dtype=np.uint8), [[1, 2, 3, 4]])
    batch = DetectionDataset([image], SIZE).__getitems__([0]).to("meta")
    tensors = [batch.images, batch.sizes_hw, *vars(batch.targets).values()]
    assert len(tensors) == 8
    assert all(tensor.is_meta for tensor in tensors)


def test_a_cropped_objects_area_stays_that_of_the_annotation() -> None:
    images = shapes.draw(ShapesConfig(name="s", domain="source", num_train=30, num_val=1)).splits["train"]
    images = [replace(image, area=image.labels + 0.5, difficult=image.labels == 1) for image in images]
    data = DetectionDataset(images, SIZE, augment=replace(SCALE, crop=1.0))
    targets = [data[i][1] for i in range(30)]
    assert sum(len(target.labels) for target in targets) < sum(len(image.labels) for image in images)
    for target in targets:
        assert target.area.tolist() == (target.labels + 0.5).tolist()
        assert target.difficult.tolist() == (target.labels == 1).tolist()


def test_a_cropped_image_fills_the_picture_again() -> None:
    data = DetectionDataset(
        shapes.draw(ShapesConfig(name="s", domain="source", num_train=30, num_val=1)).splits["train"],
        SIZE,
        augment=AugmentConfig(name="crop", crop=1.0),
    )
    sizes = [tuple(data[i][0].shape[1:]) for i in range(30)]
    assert len(set(sizes)) > 5
    assert all(size[0] == MIN_SIZE or size[1] == MAX_SIZE for size in sizes)  # all lie: it is their canvas, too
    assert all(data[i][1].image_hw == size for i, size in enumerate(sizes))


def test_an_images_augmentation_does_not_depend_on_its_place() -> None:
    """With fewer images, as in a study of label efficiency, those that stay look the same."""
    images = shapes.draw(ShapesConfig(name="s", domain="source", num_train=4, num_val=1)).splits["train"]
    whole = DetectionDataset(images, SIZE, augment=SCALE)
    part = DetectionDataset(images[2:], SIZE, augment=SCALE)
    assert torch.equal(whole[5, 3][0], part[5, 1][0])


def test_a_stretched_target_is_square_and_says_how_it_was() -> None:
    """A 200x100 image becomes 96x96: x times 0.48, y times 0.96; the area stays that of the annotation."""
    image = still(np.zeros((100, 200, 3), dtype=np.uint8), [[20, 10, 120, 60]])
    pixels, target = DetectionDataset([image], STRETCHED)[0]
    assert tuple(pixels.shape) == (3, 96, 96)
    assert target.boxes_xyxy.tolist() == [pytest.approx([9.6, 9.6, 57.6, 57.6])]
    assert (target.original_hw, target.image_hw, target.area.tolist()) == ((100, 200), (96, 96), [0.5])


@pytest.mark.parametrize("augment", [AugmentConfig(name="crop", crop=1.0), replace(SCALE, crop=1.0, hflip=0.5)])
def test_a_crop_is_stretched_to_the_square_again_and_its_box_bounds_what_is_seen(augment: AugmentConfig) -> None:
    array = np.zeros((100, 200, 3), dtype=np.uint8)
    array[20:70, 60:150] = 255
    data, compared = DetectionDataset([still(array, [[60, 20, 150, 70]])], STRETCHED, augment=augment), 0
    for epoch in range(20):
        pixels, target = data[epoch, 0]
        assert (tuple(pixels.shape), target.image_hw) == ((3, 96, 96), (96, 96))
        for box in target.boxes_xyxy.tolist():
            rows, columns = (pixels.float().mean(0) > 160).nonzero().T
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box == pytest.approx([float(side) for side in seen], abs=4.0)
            compared += 1
    assert compared > 5
