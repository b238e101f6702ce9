"""The comparison says what is so, says when it cannot say, and mixes nothing that cannot be compared."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.comparison import Comparison, compare_runs
from headstart.reporting.matrix import make_matrix
from headstart.reporting.rows import Question, Row
from headstart.reporting.run_gains import run_gains
from headstart.reporting.statistics import interval_95

from .study_records import make_record

Run = tuple[Path, RunRecord]


def run(**keywords: Any) -> Run:
    name, record = make_record(**keywords)
    return Path("outputs") / name, record


def study(seeds: int = 3, **changes: Any) -> list[Run]:
    return [
        run(source=source, strategy=strategy, seed=seed, **changes)
        for source, strategy in (("scratch", "full"), ("imagenet", "full"), ("imagenet", "head_only"))
        for seed in range(seeds)
    ]


def rows_of(comparison: Comparison, target: int = 0) -> dict[str, Row]:
    return {row.arm.name: row for row in comparison.targets[target].rows}


def noisy_study(difference: float, seeds: int, draw: random.Random) -> list[Run]:
    """Two arms that differ by `difference`; the seed moves both by 0.05, and chance each by 0.01."""
    runs = []
    for seed in range(seeds):
        level = 0.4 + draw.gauss(0, 0.05)
        runs.append(run(source="scratch", seed=seed, ap=level + draw.gauss(0, 0.01)))
        runs.append(run(source="imagenet", seed=seed, ap=level + difference + draw.gauss(0, 0.01)))
    return runs


def test_a_known_difference_is_found_and_its_sign_is_right() -> None:
    draw = random.Random(0)
    better = rows_of(compare_runs(noisy_study(0.08, 5, draw), Question()))["imagenet"]
    worse = rows_of(compare_runs(noisy_study(-0.08, 5, draw), Question()))["imagenet"]
    assert better.difference is not None
    assert worse.difference is not None
    assert (better.difference.verdict, worse.difference.verdict) == ("better", "worse")
    assert better.difference.mean == pytest.approx(0.08, abs=0.02)
    assert (better.negative_transfer, worse.negative_transfer) == (False, True)


def test_where_there_is_no_difference_nineteen_of_twenty_studies_say_so() -> None:
    draw, verdicts = random.Random(1), []
    for _ in range(400):
        row = rows_of(compare_runs(noisy_study(0.0, 4, draw), Question()))["imagenet"]
        assert row.difference is not None
        verdicts.append(row.difference.verdict)
    # 400 studies, 5 % of them wrong by chance: 20, and 4.4 the binomial deviation of that number
    assert 400 - verdicts.count("not distinguishable") == pytest.approx(20, abs=3 * 4.4)


def test_means_and_intervals_are_those_of_the_records() -> None:
    runs = study()
    row = rows_of(compare_runs(runs, Question(metric="map_50")))["imagenet head_only"]
    values = [r.metrics["val"]["map_50"] for p, r in runs if "head_only" in p.name]
    assert list(row.values.values()) == values
    assert row.mean == pytest.approx(sum(values) / 3)
    assert row.half == interval_95(values)


def test_gain_is_over_scratch_in_all_and_for_each_class() -> None:
    comparison = compare_runs(study(), Question(baseline={"strategy": "full", "source": "imagenet"}))
    row = rows_of(comparison)["imagenet head_only"]
    assert row.baseline is not None
    assert row.baseline.name == "imagenet full"
    assert row.scratch is not None
    assert row.scratch.name == "scratch full"
    expected = [row.values[seed] - row.scratch.by_seed("map")[seed] for seed in range(3)]
    assert row.gain is not None
    assert row.gain.mean == pytest.approx(sum(expected) / 3)
    red = row.classes["red cell"]  # in the records its AP is the mAP itself
    assert red.gain is not None
    assert red.gain.mean == pytest.approx(row.gain.mean)
    assert red.mean == pytest.approx(row.mean)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (None, {"imagenet full": "scratch full", "imagenet head_only": "scratch full", "scratch full": None}),
        (
            {"strategy": "full"},
            {"imagenet head_only": "imagenet full", "imagenet full": None, "scratch full": None},
        ),
        (
            {"source": "imagenet"},
            {"scratch full": "imagenet full", "imagenet full": None, "imagenet head_only": None},
        ),
    ],
)
def test_each_row_is_compared_with_the_most_alike_of_the_baseline(
    baseline: dict[str, str] | None, expected: dict[str, str | None]
) -> None:
    rows = rows_of(compare_runs(study(), Question(baseline=baseline)))
    assert {name: row.baseline.name if row.baseline else None for name, row in rows.items()} == expected
    assert all(row.is_baseline == (expected[name] is None) for name, row in rows.items())


def test_fewer_labels_are_compared_with_fewer_labels() -> None:
    runs = study() + study(fraction=0.1)
    rows = rows_of(compare_runs(runs, Question()))
    assert rows["imagenet head_only fraction=0.1"].baseline is rows["scratch full fraction=0.1"].arm


def test_another_training_budget_has_no_baseline_unless_it_is_named() -> None:
    runs = [run(source="scratch", seed=0), run(seed=0, trainer__max_epochs=40), run(seed=0)]
    row = rows_of(compare_runs(runs, Question()))["imagenet max_epochs=40"]
    assert (row.baseline, row.difference, row.is_baseline) == (None, None, False)
    named = Question(baseline={"trainer.max_epochs": "20", "source": "imagenet"})
    row = rows_of(compare_runs(runs, named))["imagenet max_epochs=40"]
    assert row.baseline is not None


def test_of_baselines_equally_alike_the_best_counts() -> None:
    weak, strong = run(source="scratch", ap=0.1, optimizer__lr=1e-5), run(source="scratch", ap=0.3, optimizer__lr=1e-3)
    weak[1].metrics["val"]["map_50"] = 0.5
    runs = [weak, strong, run(ap=0.35, optimizer__lr=1e-4)]  # map_50: 0.5, 0.45, 0.525
    for metric, gain in (("map", 0.05), ("map_50", 0.025)):
        row = rows_of(compare_runs(runs, Question(metric=metric)))["imagenet lr=0.0001"]
        assert row.gain is not None
        assert row.gain.mean == pytest.approx(gain)


def test_gain_in_a_sweep_of_learning_rates_is_over_the_best_scratch_of_the_sweep() -> None:
    """The rate that suits the source does not suit scratch: like beside like, 0.33 - 0.10, would be a gain."""
    maps = {("scratch", 1e-4): 0.10, ("scratch", 1e-3): 0.40, ("imagenet", 1e-4): 0.33, ("imagenet", 1e-3): 0.31}
    made = [
        (lr, run(source=source, ap=ap + 0.01 * seed, seed=seed, optimizer__lr=lr))
        for (source, lr), ap in maps.items()
        for seed in range(3)
    ]
    runs = [(path / f"{lr}", record) for lr, (path, record) in made]
    comparison = compare_runs(runs, Question())
    rows = rows_of(comparison)
    for name, gain in (("imagenet lr=0.0001", -0.07), ("imagenet lr=0.001", -0.09)):
        assert rows[name].gain is not None
        assert rows[name].gain.mean == pytest.approx(gain)  # pyright: ignore[reportOptionalMemberAccess]
        assert rows[name].baseline is rows[name].scratch is rows["scratch lr=0.001"].arm
        assert rows[name].negative_transfer
        of_runs = run_gains(comparison.targets[0])
        assert [of_runs[path] for path, _ in rows[name].arm.runs] == pytest.approx([gain] * 3)
    weak = rows["scratch lr=0.0001"]  # not a baseline of its own, beside which it would look as good as any
    assert (weak.is_baseline, weak.gain) == (False, None)
    assert weak.baseline is rows["scratch lr=0.001"].arm


TUNED = {
    "optimizer__lr": (1e-4, 1e-3),
    "optimizer__name": ("adamw", "sgd"),
    "scheduler__name": ("constant", "cosine"),
    "strategy__norm": ("frozen", "train"),
    "augment__name": ("basic", "strong"),
    "training__ema_decay": (None, 0.99),
    "training__early_stopping_patience": (None, 5),
    "dataset__batch_size": (4, 8),
    "trainer__accumulate_grad_batches": (1, 2),
    "trainer__gradient_clip_val": (10.0, 1.0),
}
OTHER = {
    "trainer__max_epochs": (20, 80),
    "trainer__max_steps": (-1, 1000),
    "trainer__precision": ("32-true", "bf16-mixed"),
    "dataset__fraction": (1.0, 0.5),
    "dataset__shots": (None, 5),
    "model__anchor_scale": (1.0, 0.5),
    "model__architecture": ("retinanet", "ssd"),
    "backbone__architecture": ("tf_efficientnet_lite0", "resnet50"),
    "monitor__name": ("val/map", "val/map_50"),
}


@pytest.mark.parametrize("setting", [*TUNED, *OTHER])
def test_a_better_scratch_counts_if_it_is_tuned_and_not_if_it_has_more(setting: str) -> None:
    here, there = (TUNED | OTHER)[setting]
    runs = [
        groups_of(run(source=source, ap=ap), setting, value)
        for source, value, ap in (("imagenet", here, 0.3), ("scratch", here, 0.1), ("scratch", there, 0.4))
    ]
    (row,) = (row for row in compare_runs(runs, Question()).targets[0].rows if row.arm.setting("source") == "imagenet")
    assert row.gain is not None
    assert row.gain.mean == pytest.approx(-0.1 if setting in TUNED else 0.2)


def groups_of(made: Run, setting: str, value: Any) -> Run:
    group, _, key = setting.partition("__")
    made[1].config.setdefault(group, {})[key] = value
    return made


def test_the_baseline_beside_strategies_is_the_most_alike_not_the_best() -> None:
    """Only scratch stands for what can be had without a source; a strategy is compared at its own learning rate."""
    runs = [
        run(strategy=strategy, ap=ap, optimizer__lr=lr)
        for strategy, lr, ap in (("full", 1e-4, 0.3), ("full", 1e-3, 0.4), ("head_only", 1e-4, 0.35))
    ]
    row = rows_of(compare_runs(runs, Question()))["head_only lr=0.0001"]
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(0.05)


def test_targets_are_apart_and_each_has_its_own_baseline() -> None:
    runs = [*study(), *(run(target="fruit", seed=seed, strategy=s) for seed in (0, 1) for s in ("full", "head_only"))]
    comparison = compare_runs(runs, Question())
    assert [(target.name, target.spec) for target in comparison.targets] == [
        ("blood", {"source": "scratch"}),
        ("fruit", {"strategy": "full"}),
    ]


def test_another_target_may_be_measured_otherwise() -> None:
    other = run(target="fruit", dataset__min_size=480, evaluation__max_detections=300)
    assert len(compare_runs([*study(), other], Question()).targets) == 2


def test_subsets_may_hold_different_images() -> None:
    compare_runs(study(fraction=0.3), Question())  # their fingerprints differ by seed


def test_what_did_not_finish_is_kept_and_told() -> None:
    runs = study()
    for status in ("failed", "interrupted", "not_applicable"):
        path, record = run(seed=9)
        record.status = status
        runs.append((path.with_name(status), record))
    left = compare_runs(runs, Question()).left_out
    assert [path.name for path, _ in left] == ["failed", "interrupted", "not_applicable"]


def test_a_copy_of_a_run_counts_once() -> None:
    path, record = run(seed=0)
    copy = (Path("backup") / "renamed", make_record(seed=0, dataset__num_workers=2)[1])
    comparison = compare_runs([(path, record), copy, run(seed=1)], Question())
    assert [len(row.values) for row in comparison.targets[0].rows] == [2]
    assert [path for path, _ in comparison.copies] == [copy[0]]


def pooled(runs: Sequence[Run], *group: str, **question: Any) -> dict[str, Row]:
    return rows_of(compare_runs(runs, Question(group=group, **question)))


def test_groups_are_averaged_over_what_all_of_them_have() -> None:
    runs = study()
    runs += [
        run(source="noise", strategy=strategy, seed=seed) for strategy in ("full", "head_only") for seed in range(3)
    ]
    rows = pooled(runs, "strategy")
    maps = {path.name: record.metrics["val"]["map"] for path, record in runs}
    # scratch has no head_only, so it counts for neither
    expected = (maps["blood-imagenet-full-seed1"] + maps["blood-noise-full-seed1"]) / 2
    assert rows["full"].values[1] == pytest.approx(expected)
    assert set(rows) == {"full", "head_only"}
    assert [arm.name for arm in compare_runs(runs, Question(group=("strategy",))).targets[0].left] == ["scratch full"]


def test_a_seed_that_a_pooled_arm_lacks_does_not_count() -> None:
    runs = [run(source=source, strategy="full", seed=seed) for source in ("imagenet", "noise") for seed in range(2)]
    runs += [run(source="imagenet", strategy="head_only"), run(source="noise", strategy="head_only"), *study()[3:6]]
    assert list(pooled(runs[:-3], "strategy")["head_only"].values) == [0]
    runs = [one for one in runs[:-3] if one[0].name != "blood-noise-full-seed1"]
    assert list(pooled(runs, "strategy")["full"].values) == [0]


def test_questions_about_what_is_not_there_are_refused() -> None:
    for question, words in (
        (Question(group=("sauce",)), r"group=sauce: these runs differ in source, strategy"),
        (Question(metric="mapp"), r"metric=mapp: the records have map, map_50, per_class/<class>"),
        (Question(metric="per_class/dog"), r"per_class/platelet, per_class/red cell"),
        (Question(split="test"), r"split=test: no record has it"),
        (Question(split="history"), r"split=history: no record has it"),
        (Question(baseline={"source": "coco"}), r"baseline=source=coco: .* imagenet, scratch"),
        (Question(group=("strategy",), baseline={"source": "scratch"}), r"source is pooled by group=strategy"),
    ):
        with pytest.raises(UserError, match=words):
            compare_runs(study(), question)


def test_groups_without_anything_in_common_are_refused() -> None:
    runs = [run(source="scratch", trainer__max_epochs=10), run(source="imagenet", trainer__max_epochs=20)]
    with pytest.raises(UserError, match="no other setting in common"):
        pooled(runs, "source")


def test_a_metric_of_one_class_can_be_asked_for() -> None:
    row = rows_of(compare_runs(study(), Question(metric="per_class/platelet")))["scratch full"]
    assert row.values[0] == make_record(source="scratch")[1].metrics["val"]["per_class"]["platelet"]


def test_no_ground_truth_is_no_number() -> None:
    runs = study()
    for _, record in runs[:3]:
        record.metrics["val"]["map"] = None
    row = rows_of(compare_runs(runs, Question()))["scratch full"]
    assert row.values == {}
    assert math.isnan(row.mean)


def test_the_matrix_holds_the_best_strategy_with_all_labels() -> None:
    runs = [*study(), *study(fraction=0.1), *(run(target="fruit", source="scratch", seed=s) for s in range(2))]
    path, record = run(fraction=0.1, strategy="partial_freeze", ap=0.99)
    matrix = make_matrix(compare_runs([*runs, (path, record)], Question()))
    assert matrix is not None
    assert (matrix.sources, matrix.targets) == (("scratch", "imagenet"), ("blood", "fruit"))
    assert ("imagenet", "fruit") not in matrix.cells
    best = matrix.cells["imagenet", "blood"]
    assert best.strategy == "full"
    assert best.row.arm.labels["dataset.fraction"] == "1"
    assert (best.relative, matrix.cells["scratch", "blood"].relative) == (1, 0)


def test_an_arm_that_also_measured_what_it_forgot_is_compared_with_one_that_did_not() -> None:
    runs = [run(source="scratch", seed=seed, evaluation__retention=False) for seed in range(3)]
    runs += [run(source="imagenet", seed=seed, evaluation__retention=True) for seed in range(3)]
    rows = rows_of(compare_runs(runs, Question()))
    assert set(rows) == {"scratch", "imagenet"}
    assert rows["imagenet"].difference is not None


def test_a_part_that_some_arms_lack_is_shown_by_its_setting_alone() -> None:
    pulls: tuple[dict[str, float] | None, ...] = (None, {"strength": 1.0}, {"strength": 10.0})
    found = rows_of(
        compare_runs([run(strategy__pull=pull, seed=seed) for pull in pulls for seed in (0, 1)], Question())
    )
    assert set(found) == {"strength=-", "strength=1", "strength=10"}
