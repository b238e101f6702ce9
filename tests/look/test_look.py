"""`headstart look`: one page of what is in a data set, with pictures as training gets them."""

import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart import cli
from headstart.config.compose import compose
from headstart.config.schema import AugmentConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, Size
from headstart.look.numbers import histograms, overlaps_of, per_picture
from headstart.look.sheet import SIDE, sheet

DRAWN = ("dataset=shapes", "dataset.num_train=12", "dataset.num_val=5", "dataset.min_size=96", "dataset.max_size=128")


def image(boxes: list[tuple[float, float, float, float]], difficult: int = 0) -> AnnotatedImage:
    """200 x 100 pixels; the last `difficult` boxes are."""
    box = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    marks = np.arange(len(box)) >= len(box) - difficult
    area = (box[:, 2:] - box[:, :2]).prod(axis=1)
    none = np.zeros(len(box), dtype=bool)
    return AnnotatedImage(
        "a.png", lambda: PIL.Image.new("RGB", (200, 100)), (200, 100), box, np.zeros(len(box), int), none, marks, area
    )


def test_histograms_are_what_is_counted_by_hand() -> None:
    images = ImageTable.of(
        [
            image([(0, 0, 40, 40), (50, 0, 70, 10), (0, 60, 30, 90)], difficult=1),
            image([]),
            image([(0, 0, 40, 40), (0, 0, 40, 40)]),
        ]
    )
    sides, shapes, counts, crowding = histograms({"train": images}, Size(50, 200))  # half of the pixels
    assert dict(zip(sides.names, sides.counts["train"], strict=True)) == {"4": 1, "8": 0, "16": 3}  # 7.07, 20
    assert dict(zip(shapes.names, shapes.counts["train"], strict=True)) == {"0.8": 3, "1.25": 0, "1.5": 0, "2": 1}
    assert dict(zip(counts.names, counts.counts["train"], strict=True)) == {"0": 1, "1": 0, "2": 2}
    assert dict(zip(crowding.names, crowding.counts["train"], strict=True))["0.9"] == 2
    assert per_picture(images).tolist() == [2, 0, 2]
    assert overlaps_of(images).tolist() == [0, 0, 1, 1]
    assert counts.quantiles["train"][2] == 2


def test_the_sheet_shows_the_very_pixels_and_boxes_of_a_training_batch() -> None:
    config = compose([*DRAWN, "augment=strong", "trainer.accelerator=cpu", "dataset.batch_size=12", "seed=3"])
    data = catalog.read(config.dataset, 3)
    info = describe(data, config.dataset)
    images = ImageTable.of(data.splits["train"])
    rows = list(sheet(images, data.class_names, info.size, config.augment, 3, len(images)))
    module = DetectionDataModule(data, info, config.dataset, config.augment, 3)
    loader = module.train_dataloader()
    loader.sampler.set_epoch(1)
    batch = module.on_after_batch_transfer(next(iter(loader)), 0)
    for frame, (pixels, target) in zip(batch.frames, batch.per_image(), strict=True):
        shown = rows[frame.image_id][2]  # as it is, epoch 1, epoch 2
        assert (shown.height, shown.width) == tuple(pixels.shape[-2:])
        boxes = [(b.x, b.y, b.x + b.width, b.y + b.height) for b in shown.sides[0].boxes]
        assert np.allclose(np.reshape(boxes, (-1, 4)), target.boxes_xyxy.numpy(), atol=0.11)
        picture = PIL.Image.open(io.BytesIO(shown.jpeg))
        assert max(picture.size) <= SIDE
        wanted = pixels.permute(1, 2, 0).numpy().astype(float)
        assert abs(np.asarray(picture, dtype=float) - wanted).mean() < 12, "but for what JPEG loses"


def test_without_augmentation_all_epochs_are_as_the_picture_is() -> None:
    config = compose([*DRAWN, "augment=none"])
    data = catalog.read(config.dataset, 0)
    (row,) = sheet(ImageTable.of(data.splits["train"]), data.class_names, Size(96, 128), AugmentConfig("none"), 0, 1)
    assert len({shown.jpeg for shown in row}) == 1


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("look")
    cli.main(["look", *DRAWN, "pictures=3", f"out={out}"])
    return (out / "look.html").read_text(encoding="utf-8")


class Loads(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_loads_nothing_but_what_is_in_it(page: str) -> None:
    loads = Loads(page).found
    pictures = [load for load in loads if load.startswith("data:image/jpeg;base64,")]
    assert len(pictures) == 3 * 4
    assert all(PIL.Image.open(io.BytesIO(b64decode(load.partition(",")[2]))).size for load in pictures)
    assert all(load.startswith("#") for load in loads if load not in pictures)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_page_has_the_splits_and_the_classes_with_their_boxes(page: str) -> None:
    config = compose([*DRAWN])
    info = describe(catalog.read(config.dataset, 0), config.dataset)
    for split in ("train", "val"):
        row = re.search(rf"<tr><th>{split}</th>(.*?)</tr>", page, re.DOTALL)
        assert row is not None
        assert f">{sum(info.num_boxes[split].values())}<" in row[1]
    for name in info.class_names:
        assert f'<th>{name}</th><td class="n">{info.num_boxes["train"][name]}</td>' in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pictures=1000",), "pictures=1000 must be 0 to 100"),
        (("augment.hflip=2",), "augment.hflip=2.0 is a probability"),
        (("dataset=voc_folder", "dataset.root=nowhere"), "nowhere"),
    ],
)
def test_a_mistake_is_named_before_anything_is_read(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["look", *(("dataset=shapes",) if not words[0].startswith("dataset=") else ()), *words])
    assert stopped.value.code == 1
    assert said in capsys.readouterr().err
