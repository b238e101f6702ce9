"""What is measured of a picture depends on no other shape, from the store or not, as in a prediction."""

import json

import PIL.Image
import pytest
import torch

from headstart.features.key import Arithmetic
from headstart.inference.predictor import Predictor
from headstart.transfer.freezing import set_train_mode

CPU = Arithmetic(torch.device("cpu"), "32-true")
LYING, STANDING = (64, 48), (48, 64)
SIZES_WH = {"train": [LYING, STANDING, LYING, LYING], "val": [LYING, STANDING, LYING, STANDING, STANDING]}


@pytest.fixture
def made(experiment, tmp_path):
    """Before its first step, features stored."""
    for split, sizes_wh in SIZES_WH.items():
        draw(tmp_path / "pictures", split, sizes_wh)
    words = [f"dataset.{split}_json={split}.json" for split in SIZES_WH]
    root = f"dataset.root={tmp_path / 'pictures'}"
    made = experiment("strategy=head_only", "dataset=coco_folder", root, *words, drawn=False)
    set_train_mode(made.detector, made.plan.phases[0])
    made.store.begin(0, made.detector, CPU)
    return made


def draw(root, split, sizes_wh):
    root.mkdir(exist_ok=True)
    images, annotations = [], []
    for number, (width, height) in enumerate(sizes_wh, 1):
        pixels = torch.randint(
            256, (height, width, 3), generator=torch.Generator().manual_seed(10 * number + len(split))
        )
        PIL.Image.fromarray(pixels.byte().numpy()).save(root / f"{split}{number}.png")
        images.append({"id": number, "file_name": f"{split}{number}.png", "width": width, "height": height})
        box = {"bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": 1, **box})
    described = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / f"{split}.json").write_text(json.dumps(described))


def test_training_is_stored_on_the_largest_canvas_and_validation_on_each_pictures_own(made):
    shelves = [(shelf.split, shelf.canvas_hw, shelf.numbers.tolist()) for shelf in made.store.choice.shelves]
    assert shelves == [
        ("train", (64, 64), [0, 1, 2, 3]),
        ("val", (48, 64), [0, 2]),
        ("val", (64, 48), [1, 3, 4]),
    ]
    (line,) = (note for note in made.plan.notes if "features" in note)
    assert "on a canvas of 64 x 64, those of val on their own, and read back" in line


def test_features_of_every_validation_batch_are_the_networks_own(made):
    seen = 0
    for batch in made.data.val_dataloader():
        stored = made.store.features(made.detector.eval(), "val", batch)
        assert stored is not None
        torch.testing.assert_close(stored.maps["0"], made.detector.features(batch).maps["0"])  # of other batches
        seen += len(batch)
    assert seen == len(SIZES_WH["val"])


def test_a_batch_of_several_canvases_goes_through_the_network(made):
    (batch,) = (made.data._dataset("val", None).__getitems__([0, 1]),)
    assert made.store.features(made.detector, "val", batch) is None


def test_what_is_measured_is_what_a_prediction_finds(made):
    detector = made.detector.eval()
    found = {}
    for batch in made.data.val_dataloader():
        with torch.inference_mode():
            of_batch = detector.find(batch, made.store.features(detector, "val", batch)).per_image()
        found |= {frame.image_id: one for frame, one in zip(batch.frames, of_batch, strict=True)}
    pictures = [made.data.one("val", number) for number in range(len(found))]
    predicted = Predictor.of(detector, made.info.size, 3, canvases=made.data.canvases)(pictures)
    for number, one in enumerate(predicted):
        assert torch.equal(found[number].boxes_xyxy, one.boxes_xyxy)
        assert torch.equal(found[number].scores, one.scores)
