"""Pictures and objects of a batch, taken for all its images at once."""

import numpy as np
import pytest
import torch

from headstart.config.schema import Resize, ShapesConfig
from headstart.data import shapes
from headstart.data.batch import Frame, padded_targets
from headstart.data.blocks import Blocks, Layout, Unread
from headstart.data.boxes import scale_boxes
from headstart.data.canvases import Canvases, Padding
from headstart.data.objects import Frames, Objects, padded_rows, resized_sizes_hw
from headstart.data.table import ImageTable
from headstart.data.transforms import resized_hw
from headstart.data.types import AnnotatedImage, Size, Target

SIZES = np.array([[30, 40], [40, 30], [20, 40], [30, 30], [40, 22]])
PICTURES = [torch.randint(1, 256, (3, *hw), dtype=torch.uint8) for hw in SIZES.tolist()]


def blocks(canvases: Canvases) -> Blocks:
    def fill(take):
        for number, pixels in enumerate(PICTURES):
            take(number, pixels)

    return Blocks.filled(Layout.of(SIZES, canvases), torch.device("cpu"), fill)


@pytest.mark.parametrize("chosen", [[0], [1, 1], [2, 0], [3, 1], [0, 1, 4, 2, 3], [4, 4, 0, 1]])
@pytest.mark.parametrize("padding", [Padding(), Padding(16), Padding(1, 64)])
def test_gathered_pictures_lie_in_order_in_the_corner_of_their_canvas(chosen: list[int], padding: Padding) -> None:
    """Whether their blocks have the canvas's size, or are those of a file, which no network has padded."""
    canvas = Canvases.of(SIZES, padding).of_batch(SIZES[chosen])
    expected = torch.zeros(len(chosen), 3, *canvas, dtype=torch.uint8)
    for place, number in zip(expected, chosen, strict=True):
        height, width = SIZES[number]
        place[:, :height, :width] = PICTURES[number]
    for held in (Canvases.of(SIZES, padding), Canvases.of(SIZES)):
        assert torch.equal(blocks(held).gather(np.array(chosen), canvas), expected)


def test_blocks_take_what_they_say() -> None:
    layout = Layout.of(SIZES, Canvases.of(SIZES))
    assert layout.num_bytes == sum(block.nbytes for block in blocks(layout.canvases).blocks)
    assert sum(len(block) for block in blocks(layout.canvases).blocks) == len(SIZES)


@pytest.fixture(scope="module")
def images() -> ImageTable:
    drawn = shapes.draw(ShapesConfig(name="s", domain="target", num_train=12, num_val=1)).splits["train"]
    return ImageTable.of([*drawn, *(_without_objects(image) for image in drawn[:2])])


def _without_objects(image: AnnotatedImage) -> AnnotatedImage:
    none = {name: getattr(image, name)[:0] for name in ("boxes_xyxy", "labels", "crowd", "difficult", "area")}
    return AnnotatedImage(image.name, image.read, image.size_wh, **none)


def target(image: AnnotatedImage, number: int, size: Size) -> Target:
    """As one image alone gives it."""
    width, height = image.size_wh
    image_hw = resized_hw((height, width), *size)
    boxes = scale_boxes(torch.as_tensor(image.boxes_xyxy), (image_hw[1] / width, image_hw[0] / height)).float()
    columns = [torch.as_tensor(getattr(image, name)) for name in ("labels", "crowd", "difficult")]
    return Target(number, boxes, *columns, torch.as_tensor(image.area).float(), (height, width), image_hw)


@pytest.mark.parametrize("size", [Size(60, 80), Size(50, 50, Resize.stretch), Size(97, 113)])
def test_targets_of_a_batch_are_those_of_its_images_to_the_last_bit(images: ImageTable, size: Size) -> None:
    objects, chosen = Objects.of(images, size, padded_rows(images)), [3, 12, 0, 0, 13, 7]
    alone = [target(images[number], number, size) for number in chosen]
    expected, found = padded_targets(alone, padded_rows(images)), objects.take(np.array(chosen))
    for name, column in vars(expected).items():
        assert torch.equal(vars(found)[name], column), name
        assert vars(found)[name].dtype == column.dtype
    frames = Frames(np.array(chosen), objects.original_hw[chosen], objects.sizes_hw[chosen], np.arange(len(chosen)))
    assert [*frames] == [Frame(t.image_id, t.original_hw, t.image_hw, view) for view, t in enumerate(alone)]


def test_rows_are_the_most_objects_of_an_image_in_eights(images: ImageTable) -> None:
    most = max(len(image.labels) for image in images)
    assert padded_rows(images) == next(rows for rows in (8, 16, 24) if rows >= most)
    assert padded_rows(images.take([12])) == 8  # without objects
    nine = images[0]
    nine = AnnotatedImage(
        "n", nine.read, nine.size_wh, np.zeros((9, 4)), np.zeros(9, int), *[np.zeros(9, bool)] * 2, np.zeros(9)
    )
    assert padded_rows(ImageTable.of([nine])) == 16


def test_pictures_that_are_read_anew_are_those_of_a_block(images: ImageTable) -> None:
    size, chosen = Size(48, 64), np.array([5, 2])
    sizes = resized_sizes_hw(images, size)
    unread = Unread(images, size)
    made = Blocks.filled(
        Layout.of(sizes, Canvases.of(sizes)),
        torch.device("cpu"),
        lambda take: [take(i, unread.gather(np.array([i]), tuple(sizes[i]))[0]) for i in range(len(images))],
    )
    canvas = Canvases.of(sizes, Padding(32)).of_batch(sizes[chosen])
    assert torch.equal(made.gather(chosen, canvas), unread.gather(chosen, canvas))
