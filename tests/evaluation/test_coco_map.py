"""mAP is one value of the whole set, in the original's pixels; what cannot be measured is NaN."""

import itertools
import math
from dataclasses import asdict, replace

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from headstart.config.schema import Engine
from headstart.data.batch import Batch
from headstart.data.truth import KnownTruth
from headstart.data.types import Prediction, Target
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.evaluation.module import EvaluationModule
from headstart.evaluation.scoring import score
from headstart.evaluation.seen import truth_seen
from headstart.records.detections import read_detections, write_detections
from headstart.records.truth import read_truth, write_truth

from .lists import detections, update

NAMES = ("a", "b", "c", "only detected")
BOX = (100, 100, 200, 200)
"""100 x 100 pixels: large."""
AWAY = (500, 500, 600, 600)
MAP_BY_HAND = (3 * 50.5 + 7 * 34) / 1010
engines = pytest.mark.parametrize("engine", list(Engine))


@pytest.fixture
def by_hand(target, prediction):
    """Three images in a batch of one and a batch of two; one object of the one class in each.

    Detections of the whole set, best first, and what they are where the IoU of the last, 62 / 100, is enough:

        score  image  what     recall  precision
        0.9      0    found     1/3       1
        0.8      1    nothing   1/3      1/2
        0.7      2    nothing   1/3      1/3
        0.6      1    found     2/3      1/2

    Of the 101 recalls 0, 0.01 … 1, the 34 up to 0.33 have precision 1, the 33 up to 0.66 have 1/2, the others 0:
    AP = (34 + 33 / 2) / 101 = 50.5 / 101 for the IoUs 0.50, 0.55 and 0.60. For the other seven the last detection finds
    nothing: AP = 34 / 101. Their mean is mAP = (3 * 50.5 + 7 * 34) / 1010 = 0.3856.
    """
    part = (100, 100, 200, 162)
    return [
        [(prediction([BOX], [0.9], [0]), target(0, [BOX], [0]))],
        [
            (prediction([AWAY, part], [0.8, 0.6], [0, 0]), target(1, [BOX], [0])),
            (prediction([AWAY], [0.7], [0]), target(2, [BOX], [0])),
        ],
    ]


def updated(metric, batches):
    for batch in batches:
        update(metric, batch)
    return metric


def of_batches(batches, names=("a",)):
    return updated(CocoMeanAveragePrecision(names), batches).compute()


def bits(result):
    """Equal texts are equal bits, NaN included."""
    return repr(asdict(result))


def resized(image, height, width):
    """Image and detections as they are where the detector sees them in another height and width."""
    prediction, target = image
    up, across = height / target.original_hw[0], width / target.original_hw[1]
    scale = torch.tensor([across, up, across, up])
    return (
        replace(prediction, boxes_xyxy=prediction.boxes_xyxy * scale),
        replace(target, boxes_xyxy=target.boxes_xyxy * scale, image_hw=(height, width)),
    )


def test_the_value_is_the_one_computed_by_hand(by_hand):
    result = of_batches(by_hand)
    assert result.map == result.per_class["a"] == pytest.approx(MAP_BY_HAND, abs=1e-12)
    assert result.map_50 == result.per_class_50["a"] == pytest.approx(50.5 / 101, abs=1e-12)
    assert result.map_75 == pytest.approx(34 / 101, abs=1e-12)
    assert result.images == 3


def test_mar_is_the_one_computed_by_hand(by_hand):
    """Two of three objects are found at three IoUs, one of three at the other seven: (3 * 2/3 + 7 * 1/3) / 10."""
    assert of_batches(by_hand).mar == pytest.approx(13 / 30, abs=1e-12)


def test_the_value_is_not_the_mean_over_batches(by_hand):
    """Alone, the first batch has 1, and the second (3 * 51 * 1/3) / 1010: half of the recalls at precision 1/3."""
    of_each = [of_batches([batch]).map for batch in by_hand]
    assert of_each == pytest.approx([1, 51 / 1010], abs=1e-12)
    assert abs(of_batches(by_hand).map - sum(of_each) / 2) > 0.1


def test_the_order_of_batches_changes_no_bit(draw, in_batches):
    batches = in_batches(8, draw(0))
    results = [bits(of_batches(order, NAMES)) for order in itertools.permutations(batches)]
    assert results == results[:1] * 6


def test_the_batch_size_changes_no_bit(draw, measure):
    results = [bits(measure(draw(1), NAMES, batch_size=size)) for size in (1, 5, 24)]
    assert results == results[:1] * 3


class Replay(torch.nn.Module):
    """A detector that says what it was told to; an image is its number."""

    def __init__(self, batches):
        super().__init__()
        self.predictions = [prediction for batch in batches for prediction, _ in batch]

    def find(self, batch, features=None):
        return detections([self.predictions[frame.image_id] for frame in batch.frames])


def validations(batches, count):
    """The results of validations one after another, and what Lightning logged at the last."""
    module = EvaluationModule(Replay(batches), CocoMeanAveragePrecision(["a"]))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options)
    seen = [
        Batch.of([torch.zeros(3, *t.image_hw, dtype=torch.uint8) for _, t in b], [t for _, t in b]) for b in batches
    ]
    results = []
    for _ in range(count):
        trainer.validate(module, DataLoader(seen, batch_size=None), verbose=False)
        results.append(module.evaluation)
    return results, trainer.callback_metrics


def test_lightning_logs_the_value_of_the_whole_set_every_time(by_hand):
    results, logged = validations(by_hand, 2)
    assert [result.map for result in results] == pytest.approx([MAP_BY_HAND] * 2, abs=1e-12)
    assert logged["val/map"].item() == pytest.approx(MAP_BY_HAND, abs=1e-6)
    assert logged["val/ap/a"].item() == pytest.approx(MAP_BY_HAND, abs=1e-6)


@pytest.mark.parametrize("seen_hw", [(2000, 2000), (500, 250), (125, 4000)])
def test_a_resized_image_gives_the_result_of_the_original_to_the_bit(draw, measure, seen_hw):
    images = draw(2)
    assert bits(measure([resized(image, *seen_hw) for image in images], NAMES)) == bits(measure(images, NAMES))


@pytest.mark.parametrize("seed", range(3))
def test_the_files_of_a_run_give_its_numbers_to_the_bit_whatever_size_the_network_saw(tmp_path, draw, seed):
    images, names = draw(seed, difficult=0.1), ("c", "only detected", "a", "b")
    original = updated(CocoMeanAveragePrecision(names), [images])
    original.compute()
    known = truth_seen(original.images, names)
    known = KnownTruth(replace(known.truth, fingerprint="f" * 32), known.rows)
    result = updated(CocoMeanAveragePrecision(names), [[resized(image, 800, 1333)] for image in images]).compute(known)
    write_truth(tmp_path / "run", known.truth)
    (tmp_path / "run").mkdir()
    write_detections(tmp_path / "run", {"val": result.detections})
    truth = read_truth(tmp_path / "run", "f" * 32)
    again = score(truth, read_detections(tmp_path / "run", "val"), Engine.hotcoco, 100)
    assert 0.1 < result.map < 0.9
    assert again["scalars"] == {name: getattr(result, name) for name in again["scalars"]}
    assert repr(dict(zip(truth.class_names, again["per_class"], strict=True))) == repr(
        dict(sorted(result.per_class.items()))
    )


def test_objects_on_the_border_of_small_stay_there_where_resizing_rounds(draw, measure, numbers):
    """Objects of exactly 32 x 32 pixels are small and medium, also after two roundings to float32."""
    grown = torch.tensor([0, 0, 0.125, 0.125])  # detections lie on no border
    images = [(replace(p, boxes_xyxy=p.boxes_xyxy + grown), t) for seed in range(4) for p, t in draw(seed)]
    images = [(p, replace(t, image_id=i)) for i, (p, t) in enumerate(images)]
    original = numbers(measure(images, NAMES))
    found = numbers(measure([resized(image, 800, 1333) for image in images], NAMES))
    assert found == pytest.approx(original, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("size", "name"), [((20, 20), "map_small"), ((60, 60), "map_medium"), ((150, 100), "map_large")]
)
def test_small_medium_and_large_are_areas_in_the_originals_pixels(target, prediction, measure, size, name):
    box = (8, 8, 8 + size[0], 8 + size[1])
    image = (prediction([box], [0.5], [0]), target(0, [box], [0]))
    for side in (125, 16000):  # seen like this, all three would be small, or all three large
        result = asdict(measure([resized(image, side, side)], ["a"]))
        areas = {key: result[key] for key in ("map_small", "map_medium", "map_large")}
        assert {key for key, value in areas.items() if not math.isnan(value)} == {name}
        assert areas[name] == pytest.approx(1, abs=1e-12)


@engines
@pytest.mark.parametrize("ignored", [0, 2])
def test_a_set_without_objects_has_nan_everywhere(target, prediction, measure, numbers, engine, ignored):
    image = (prediction([BOX], [0.9], [0]), target(0, [BOX, AWAY][:ignored], [0, 1][:ignored], [True] * ignored))
    result = measure([image], ["a", "b"], engine)
    assert result.images == 1
    assert all(math.isnan(value) for value in numbers(result).values())


@engines
def test_a_class_without_objects_has_nan_and_no_part_in_the_mean(target, prediction, measure, engine):
    image = (prediction([BOX, AWAY], [0.9, 0.8], [0, 1]), target(0, [BOX], [0]))
    result = measure([image], ["a", "b"], engine)
    assert math.isnan(result.per_class["b"])
    assert math.isnan(result.per_class_50["b"])
    assert result.map == result.per_class["a"] == pytest.approx(1, abs=1e-12)


@engines
def test_a_set_without_detections_has_zero(target, prediction, measure, engine):
    result = measure([(prediction([], [], []), target(i, [BOX], [0])) for i in range(2)], ["a"], engine)
    assert (result.map, result.map_50, result.map_75, result.map_large, result.mar) == (0, 0, 0, 0, 0)
    assert (result.per_class, result.per_class_50) == ({"a": 0}, {"a": 0})


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
@engines
def test_an_empty_evaluation_has_nan_of_no_image(measure, numbers, engine):
    result = measure([], ["a"], engine)
    assert result.images == 0
    assert all(math.isnan(value) for value in numbers(result).values())


def test_a_reset_forgets_everything(draw):
    metric = updated(CocoMeanAveragePrecision(NAMES), [draw(0)])
    metric.compute()
    metric.reset()
    after = updated(metric, [draw(1, num_images=5)]).compute()
    assert after.images == 5
    assert bits(after) == bits(of_batches([draw(1, num_images=5)], NAMES))


def test_an_image_given_twice_counts_once(draw):
    images = draw(0)
    assert bits(of_batches([images, images[:7], images[:1]], NAMES)) == bits(of_batches([images], NAMES))


@engines
def test_a_perfect_detector_has_one(draw, measure, numbers, engine):
    images = draw(0)[1:]  # of image 0 only a hundred detections count
    perfect = [
        replace(p, boxes_xyxy=t.boxes_xyxy, labels=t.labels, scores=torch.ones(len(t.labels))) for p, t in images
    ]
    found = numbers(measure([(p, t) for p, (_, t) in zip(perfect, images, strict=True)], NAMES, engine))
    without_objects = {"per_class/only detected", "per_class_50/only detected"}
    assert {name for name, value in found.items() if math.isnan(value)} == without_objects
    assert {name: found[name] for name in found.keys() - without_objects} == pytest.approx(
        dict.fromkeys(found.keys() - without_objects, 1), abs=1e-12
    )


@engines
def test_detections_of_swapped_classes_have_zero(target, prediction, measure, engine):
    image = (prediction([BOX, AWAY], [0.9, 0.8], [1, 0]), target(0, [BOX, AWAY], [0, 1]))
    result = measure([image], ["a", "b"], engine)
    assert (result.map, result.map_50, result.mar) == (0, 0, 0)
    assert result.per_class == {"a": 0, "b": 0}


def test_the_scalars_for_loggers_hold_every_number_but_the_image_count(by_hand):
    result = of_batches(by_hand)
    areas = ("map_small", "map_medium", "map_large")
    assert set(result.scalars()) == {"map", "map_50", "map_75", *areas, "mar", "ap/a"}
    assert result.scalars()["ap/a"] == result.map


def test_boxes_on_stretched_pictures_are_measured_in_the_pixels_of_the_original(measure):
    """200 x 100 seen as 96 x 96. The object, 100 x 50 and medium, is found but for 19 of its columns: an IoU of 0.81,
    so that 7 of 10 thresholds are met. The better false alarm is 30 x 34, just small: it halves the precision, not that
    of medium objects; by the larger of the two ratios it would."""

    def seen(*boxes):
        return torch.tensor(boxes) * torch.tensor([96 / 200, 96 / 100] * 2)

    no, zero = torch.zeros(1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    target = Target(0, seen((20, 10, 120, 60)), zero, no, no, torch.tensor([5000.0]), (100, 200), (96, 96))
    found = seen((150, 60, 180, 94), (20, 10, 101, 60))
    result = measure([(Prediction(found, torch.tensor([0.9, 0.8]), zero.repeat(2)), target)], ("a",))
    assert (result.map, result.map_medium) == (pytest.approx(0.35), pytest.approx(0.7))
    assert math.isnan(result.map_small)
    assert math.isnan(result.map_large)
