"""What is said of two arms holds for other pictures as well as for other seeds, where their detections are kept."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from headstart.compare import compare
from headstart.config.schema import CompareConfig
from headstart.evaluation.scoring import image_results
from headstart.evaluation.types import ImageResult
from headstart.records.detections import SplitDetections, write_detections
from headstart.records.record import RunRecord
from headstart.records.truth import Truth as Objects
from headstart.records.truth import write_truth
from headstart.reporting.advice import advice
from headstart.reporting.comparison import Comparison, Target, compare_runs
from headstart.reporting.comparison_csv import as_csv
from headstart.reporting.page import as_html
from headstart.reporting.pictures import Look, Pictures
from headstart.reporting.rows import Question
from headstart.reporting.statistics import Part, combined
from headstart.reporting.tables import terminal

from .picture_simulation import (
    Model,
    Noise,
    Values,
    between,
    compared,
    compared_detections,
    covered,
    detected,
    draw,
    scenes,
    true_map,
)
from .simulation import Truth, equal, name, records, says_anything
from .study_records import make_record, write


def at_least(level: float, number: int) -> float:
    """What one simulation of a thousand falls below where the truth is `level`."""
    return level - float(stats.norm.isf(0.001)) * math.sqrt(level * (1 - level) / number)


def at_most(level: float, number: int) -> float:
    return 2 * level - at_least(level, number)


# ------------------------------------------------------------------------------------------------ coverage


def test_nineteen_of_twenty_intervals_hold_the_difference_on_all_pictures() -> None:
    truth = Truth([0.4, 0.42], [0.01, 0.01], 5)
    found = covered(compared(truth, 100, 100), 0.02)
    assert sum(found) / len(found) >= at_least(0.92, 100)


def test_intervals_over_seeds_alone_miss_it_more_often_than_they_hold_it() -> None:
    """What this whole section is for: the pictures' part is three times that of seeds here."""
    truth, rng = Truth([0.4, 0.42], [0.01, 0.01], 5), np.random.default_rng(0)
    held = 0
    for _ in range(200):
        drawn = draw(truth, 100, Noise(of_arm=0.3), rng).mean(2)
        difference = drawn[1] - drawn[0]
        half = stats.t.ppf(0.975, 4) * difference.std(ddof=1) / math.sqrt(5)
        held += abs(difference.mean() - 0.02) <= half
    assert held / 200 < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "pictures", "least"), [(5, 100, 0.92), (5, 400, 0.92), (3, 33, 0.9)])
def test_of_2000_intervals_92_percent_hold_the_difference(seeds: int, pictures: int, least: float) -> None:
    truth = Truth([0.4, 0.42], [0.01, 0.01], seeds)
    found = covered(compared(truth, pictures, 2000), 0.02)
    assert sum(found) / len(found) >= least


@pytest.mark.slow
def test_of_intervals_of_map_92_percent_hold_the_difference() -> None:
    """Of detections, matched and resampled; the true difference is that on 20,000 pictures."""
    arms = (Model(0.0), Model(0.5))
    true = true_map(arms[1], 20_000) - true_map(arms[0], 20_000)
    found = covered(compared_detections(arms, 5, 100, 500), true)
    assert sum(found) / len(found) >= at_least(0.93, 500)


# ------------------------------------------------------------------------------------------------ nothing differs


def test_where_nothing_differs_on_all_pictures_nothing_is_said_in_19_of_20_studies() -> None:
    found = [says_anything(target) for target in compared(equal(3, [0.01] * 4), 33, 40)]
    assert sum(found) / len(found) <= at_most(0.05, 40)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [[0.01] * 12, [0.01] * 11 + [0.03]], ids=["alike", "one"])
@pytest.mark.parametrize(("seeds", "pictures"), [(2, 100), (3, 33), (3, 100), (5, 100), (6, 100)])
def test_of_twelve_equal_arms_nothing_is_said_in_950_of_1000_studies(
    noise: Sequence[float], seeds: int, pictures: int
) -> None:
    found = [says_anything(target) for target in compared(equal(seeds, noise), pictures, 1000)]
    assert sum(found) / len(found) <= at_most(0.05, 1000)


# ------------------------------------------------------------------------------------------------ the two parts


def test_the_part_of_pictures_is_the_variance_of_a_mean_over_them() -> None:
    """Of a mean over pictures theory knows it: s squared over their number, of the mean of the seeds."""
    rng = np.random.default_rng(3)
    runs = {seed: rng.normal(0.4, 0.2, 60) for seed in range(3)}
    weights = rng.multinomial(60, np.full(60, 1 / 60), 4000)
    found = Pictures(60, 4000, {"a": {seed: Values(values).resampled(weights) for seed, values in runs.items()}})
    part = found.part("a")
    assert part is not None
    expected = np.mean(list(runs.values()), axis=0).var(ddof=1) / 60
    assert part.variance == pytest.approx(expected, rel=0.1)
    assert part.freedom == pytest.approx(1 / (1 / 59 + 1 / 3999))


def test_what_pictures_do_to_both_arms_is_no_part_of_their_difference() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.4, 0.2, 60)
    weights = rng.multinomial(60, np.full(60, 1 / 60), 300)
    one, other = (Values(values + more).resampled(weights) for more in (0, 0.1))
    part = Pictures(60, 300, {"a": {0: one}, "b": {0: other}}).part("a", "b")
    assert part is not None
    assert part.variance == pytest.approx(0, abs=1e-20)


def test_degrees_of_freedom_are_welchs_and_satterthwaites_by_hand() -> None:
    """(3 + 1)^2 / (3^2 / 4 + 1^2 / 99) = 16 / 2.2601 = 7.07…, of which two digits count; the part that is small hardly
    changes it."""
    assert combined(Part(3, 4), Part(1, 99)) == Part(4, pytest.approx(7.0))
    assert combined(Part(1, 4), Part(1e-12, 99)).freedom == pytest.approx(4)
    assert combined(Part(1, 4), None) == Part(1, 4)


def looking(values: np.ndarray, lacking: str = "") -> Look:
    """By `draw`'s arms and seeds; a run whose folder's name has `lacking` in it kept no detections."""

    def look(path: Path, record: RunRecord, *_: object) -> Values | None:
        arm = next(arm for arm in range(len(values)) if name(arm) == record.choices["source"])
        seed = record.choices["seed"]
        return None if lacking and lacking in path.name else Values(values[arm, seed])

    return look


def study(means: Sequence[float], seeds: int, pictures: int, lacking: str = "", **noise: float) -> Comparison:
    truth = Truth(means, [0.01] * len(means), seeds)
    runs, values = records(truth), draw(truth, pictures, Noise(**noise), np.random.default_rng(1))
    for _, record in runs:
        arm = next(arm for arm in range(len(means)) if name(arm) == record.choices["source"])
        record.metrics["val"] |= {"map": float(values[arm, record.choices["seed"]].mean()), "per_class": {}}
    return compare_runs(runs, Question(), looking(values, lacking))


def shown(comparison: Comparison) -> str:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(terminal(comparison))
    return " ".join(console.export_text().split())


def rows_of(comparison: Comparison) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(comparison))))


def test_both_parts_stand_in_the_csv_and_make_the_interval() -> None:
    """The half width is Student's t, at the freedom of both, times the root of the sum of the squares."""
    row = next(row for row in rows_of(study([0.4, 0.45], 5, 60)) if row["source"] == "source01")
    seeds, pictures = float(row["difference_error_of_seeds"]), float(row["difference_error_of_pictures"])
    assert seeds > 0
    assert pictures > 0
    whole = combined(Part(seeds**2, 4), Part(pictures**2, 1 / (1 / 59 + 1 / 199)))
    expected = stats.t.ppf(0.975, whole.freedom) * math.hypot(seeds, pictures)
    assert float(row["difference_half_95"]) == pytest.approx(expected, rel=1e-6)


def test_the_table_and_the_page_show_the_share_of_the_pictures(tmp_path: Path) -> None:
    comparison = study([0.4, 0.45], 5, 60)
    found = between(comparison.targets[0], 1, 0).share_of_pictures
    assert found is not None
    words = f"{found:.0%}".replace("%", " %")
    for text in (shown(comparison), as_html(comparison, tmp_path)):
        assert words in text
        assert "60 pictures, drawn anew 200 times (not 1000, for it would take long)" in text


def test_the_pictures_that_would_settle_it_are_named() -> None:
    """Their part is nearly all there is, so that no seeds on the same pictures would."""
    comparison = study([0.4, 0.43], 5, 33, of_arm=0.12, seed=0.001, of_run=0.001)
    (target,) = comparison.targets
    found = between(target, 1, 0)
    assert (found.verdict, found.more_seeds) == ("not distinguishable", None)  # type: ignore[attr-defined]
    more = found.more_pictures  # type: ignore[attr-defined]
    assert more is not None
    assert f"about {more} more pictures would" in advice(target)
    assert f"(~{more} more pictures)" in shown(comparison)


def test_so_many_pictures_as_are_said_to_settle_it_do_in_most_studies() -> None:
    """Difference 0.05; deviations 0.1 of each arm on a picture, so 0.1 * sqrt(2 / I) of the difference: 80 % at I with
    (t + 0.84) * 0.1414 / sqrt(I) = 0.05."""
    target = study([0.4, 0.45], 5, 20, of_arm=0.1, seed=0.0, of_run=0.0).targets[0]
    found = between(target, 1, 0)
    assert found.pictures is not None
    needed = found._more_pictures(0.05) + 20  # type: ignore[attr-defined]
    deviation = math.sqrt(found.pictures.variance * 20)
    by_hand = ((stats.norm.ppf(0.975) + 0.84) * deviation / 0.05) ** 2
    assert needed == pytest.approx(by_hand, rel=0.15)


# ------------------------------------------------------------------------------------------------ what lacks them


def test_without_detections_intervals_are_of_seeds_alone_and_that_is_said() -> None:
    comparison = study([0.4, 0.45], 3, 60, lacking="source")
    text = shown(comparison)
    assert "kept no detections: of what they are part of intervals and verdicts are over seeds alone" in text
    alone = shown(compare_runs(comparison.targets[0].group.runs, Question()))
    assert "the runs kept no detections: intervals and verdicts are over seeds alone" in alone
    assert "drawn anew" not in alone


def test_an_arm_with_one_run_without_detections_is_judged_by_seeds_alone_and_the_others_are_not() -> None:
    (target,) = study([0.4, 0.45, 0.5], 3, 60, lacking="source02-full-seed1").targets
    assert between(target, 1, 0).pictures is not None
    assert between(target, 2, 0).pictures is None


# ------------------------------------------------------------------------------------------------ of files


def as_files(images: dict[int, ImageResult]) -> tuple[Objects, SplitDetections]:
    def corners(boxes: list[np.ndarray]) -> np.ndarray:
        found = np.vstack(boxes)
        return np.hstack([found[:, :2], found[:, :2] + found[:, 2:]])

    def rows(column: str) -> np.ndarray:
        return np.repeat(np.array([*images], np.int32), [len(getattr(one, column)) for one in images.values()])

    def joined(column: str) -> np.ndarray:
        return np.concatenate([getattr(one, column) for one in images.values()])

    pictures = np.array([*images], np.int32)
    truth = Objects(
        "f" * 32,
        ("a", "b"),
        tuple(map(str, images)),
        np.full((len(images), 2), 2000, np.int32),
        rows("truth_labels"),
        corners([one.truth_xywh for one in images.values()]),
        *(joined(column) for column in ("truth_labels", "crowd", "difficult", "area")),
    )
    boxes = corners([one.boxes_xywh for one in images.values()]).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return truth, SplitDetections(rows("scores"), boxes, joined("scores"), joined("labels"), pictures)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two arms with three seeds on 40 pictures, as runs leave them."""
    rng = np.random.default_rng(0)
    scene = scenes(40, rng)
    for source, skill in (("scratch", 0.0), ("imagenet", 0.7)):
        for seed in range(3):
            run, record = make_record(source=source, seed=seed, ap=skill / 2, epochs=0)
            record.dataset |= {"fingerprints": {"val": "f" * 32}, "num_images": {"train": 9, "val": 40}}
            record.metrics["val"] |= {"images": 40}
            write(tmp_path / "study", run, record)
            truth, found = as_files(detected(scene, Model(skill), rng))
            write_truth(tmp_path / "study" / run, truth)
            write_detections(tmp_path / "study" / run, {"val": found})
            assert len(image_results(truth, found)) == 40
    return tmp_path / "study"


def of_command(folder: Path) -> Target:
    return compare(CompareConfig(folder=str(folder))).targets[0]


def test_the_command_reads_what_runs_leave(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = of_command(folder)
    assert (target.family.pictures.count, target.family.pictures.resamples) == (40, 1000)
    assert all(row.pictures is not None and row.pictures.variance > 0 for row in target.rows)
    assert "40 pictures, drawn anew 1000 times, the same for" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_file_is_named_and_its_arm_judged_by_seeds_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "blood-scratch-full-seed1" / "detections.npz"
    path.write_bytes(path.read_bytes()[:700])
    target = of_command(folder)
    text = "".join(capsys.readouterr().out.split())
    assert "".join(f"{path} cannot be read".split()) in text
    assert {row.arm.setting("source"): row.pictures is None for row in target.rows} == {
        "scratch": True,
        "imagenet": False,
    }
