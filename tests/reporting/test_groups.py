"""What may not be compared is parted and named, and nothing else is lost for it."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.comparison import Comparison, Target, compare_runs
from headstart.reporting.notes import notes
from headstart.reporting.rows import Question

from .study_records import make_record

Run = tuple[Path, RunRecord]


def run(**keywords: Any) -> Run:
    name, record = make_record(**keywords)
    return Path("outputs") / name, record


def study(**changes: Any) -> list[Run]:
    ways = (("scratch", "full"), ("imagenet", "full"), ("imagenet", "head_only"))
    return [run(source=source, strategy=way, seed=seed, **changes) for source, way in ways for seed in range(2)]


def changed(runs: Sequence[Run], change: Callable[[RunRecord], Any]) -> list[Run]:
    for _, record in runs:
        change(record)
    return list(runs)


def newer(run: Run, **fingerprints: str) -> Run:
    """With a fingerprint per split."""
    path, record = run
    record.dataset["fingerprints"] = {"train": "train", "val": "val", **fingerprints}
    record.dataset["num_images"] |= {split: 100 for split in fingerprints}
    if "test" in fingerprints:
        record.metrics["test"] = copy.deepcopy(record.metrics["val"]) | {"map": record.metrics["val"]["map"] / 2}
    return path, record


def compared(runs: Sequence[Run], **question: Any) -> dict[str, Target]:
    return {target.name: target for target in compare_runs(runs, Question(**question)).targets}


def told(runs: Sequence[Run], **question: Any) -> str:
    return "\n".join(notes(compare_runs(runs, Question(**question))))


def names(comparison: Comparison) -> set[str]:
    return {path.name for target in comparison.targets for arm in target.arms for path, _ in arm.runs}


# ----------------------------------------------------------------------------------------------------- parted runs

UNLIKE: dict[str, Callable[[RunRecord], Any]] = {
    "evaluated on different images": lambda record: record.dataset.update(evaluation_fingerprint="0123456789ab"),
    "evaluation.engine": lambda record: record.config["evaluation"].update(engine="faster_coco_eval"),
    "evaluation.max_detections": lambda record: record.config["evaluation"].update(max_detections=300),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_a_run_that_was_measured_otherwise_is_a_target_of_its_own_and_named(what: str) -> None:
    runs = study()
    odd, record = run(source="imagenet", seed=7)
    UNLIKE[what](record)
    comparison = compare_runs([*runs, (odd, record)], Question())
    sizes = {target.name: len(target.group.runs) for target in comparison.targets}
    assert sorted(sizes.values()) == [1, 6]
    note = next(note for note in notes(comparison) if "not compared with each other" in note)
    assert what in note
    assert odd.name in note
    assert runs[0][0].name in note


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"dataset__root": "my/photos"}, {"dataset__root": "cats"}], {"set (cats)", "set (my/photos)"}),
        (
            [{"dataset__split_seed": 0}, {"dataset__split_seed": 1}],
            {"set (split_seed=0)", "set (split_seed=1)"},
        ),
        ([{}, {}], {"set (val images aaaa0000)", "set (val images bbbb1111)"}),
    ],
)
def test_targets_of_one_name_are_told_apart_by_what_differs(changes: list[dict[str, Any]], expected: set[str]) -> None:
    runs = []
    for fingerprint, settings in zip(("aaaa0000ffff", "bbbb1111ffff"), changes, strict=True):
        for seed in range(2):
            runs += changed(
                [run(target="set", seed=seed, **settings)],
                lambda record, found=fingerprint: record.dataset.update(evaluation_fingerprint=found),
            )
    assert set(compared(runs)) == expected


def test_the_same_images_are_one_target_whatever_the_folder_is_called() -> None:
    """What the data set is called, or where it lies, changes nothing that its fingerprints do not say."""
    runs = [run(seed=0, dataset__root="/here/photos"), run(seed=1, dataset__root="/there/moved")]
    runs[1][1].dataset["name"] = runs[1][1].config["dataset"]["name"] = "moved"
    (target,) = compared(runs).values()
    assert [list(row.values) for row in target.rows] == [[0, 1]]
    assert "also called moved" in told(runs)


def test_a_study_of_the_image_size_is_compared() -> None:
    runs = [*study(), *study(dataset__min_size=480, dataset__max_size=640)]
    words = {"dataset.min_size": "240", "dataset.max_size": "320"}
    (target,) = compared(runs, baseline=words).values()
    rows = {row.arm.name: row for row in target.rows}
    row = rows["imagenet full max_size=640 min_size=480"]
    assert len(rows) == 6
    assert row.baseline is rows["imagenet full max_size=320 min_size=240"].arm
    assert row.difference is not None


def test_a_study_of_stretched_pictures_is_compared_and_older_records_kept_their_shape() -> None:
    runs = [*study(), *study(dataset__resize="keep")[:1], *study(dataset__resize="stretch")]
    del runs[0]  # it is there again, as a newer record
    assert "resize" not in runs[0][1].config["dataset"]
    (target,) = compared(runs, baseline={"dataset.resize": "keep"}).values()
    rows = {row.arm.name: row for row in target.rows}
    assert len(rows) == 6
    assert rows["imagenet full resize=stretch"].baseline is rows["imagenet full resize=keep"].arm
    assert sorted(rows["scratch full resize=keep"].arm.seeds) == [0, 1]
    (alone,) = compared(runs).values()
    gains = {row.arm.name: row.baseline.name for row in alone.rows if row.baseline}
    assert gains["imagenet full resize=stretch"] == "scratch full resize=stretch", "it must agree"


def test_a_baseline_of_another_group_is_refused_by_name_and_its_own_group_is_compared() -> None:
    others = changed(study()[2:], UNLIKE["evaluation.max_detections"])
    runs = [*study(), *others]
    targets = compared(runs, baseline={"source": "scratch"})
    first, second = targets["blood (max_detections=100)"], targets["blood (max_detections=300)"]
    assert all(row.difference is not None for row in first.rows if not row.is_baseline)
    assert all(row.baseline is None for row in second.rows)
    note = next(
        line for line in told(runs, baseline={"source": "scratch"}).split("\n") if "nothing is compared" in line
    )
    assert note.startswith("blood (max_detections=300): ")
    assert "scratch full of blood (max_detections=100)" in note


# ------------------------------------------------------------------------------------------------- training images


def test_runs_trained_on_other_images_with_the_same_settings_are_arms_apart_and_named() -> None:
    runs = study()
    changed(runs[-1:], lambda record: record.dataset.update(fingerprint="other"))
    (target,) = compared(runs).values()
    assert sorted(row.arm.name for row in target.rows if "head_only" in row.arm.name) == [
        "imagenet head_only images=blood 1.",
        "imagenet head_only images=other",
    ]
    apart = next(row for row in target.rows if row.arm.name.endswith("=other"))
    assert apart.baseline is None  # no run from scratch saw these images
    note = told(runs)
    assert "the data has changed in between" in note
    assert "other: blood-imagenet-head_only-seed1" in note


def test_a_changed_subset_of_the_images_is_named() -> None:
    runs = study(fraction=0.3)
    assert "the data has changed" not in told(runs)  # each seed draws its own
    changed(runs[-1:], lambda record: record.dataset.update(fingerprint="other"))
    assert "other: blood-imagenet-head_only-f0.3-seed1" in told(runs)


def test_sets_with_the_same_validation_images_and_other_training_images_are_told_by_their_names() -> None:
    runs = study()
    for path, record in study():
        record.dataset |= {"name": "more", "fingerprint": "more"}
        record.config["dataset"]["name"] = "more"
        runs.append((path.with_name(f"more-{path.name}"), record))
    (target,) = compared(runs).values()
    assert {row.arm.labels["dataset"] for row in target.rows} == {"blood", "more"}
    assert len(target.rows) == 6


@pytest.mark.parametrize(
    "settings", [{"dataset__batch_size": 4}, {"dataset__min_size": 120}, {"dataset__resize": "stretch"}]
)
def test_a_change_of_the_data_is_noticed_between_arms_that_differ_in_what_chooses_no_images(
    settings: dict[str, Any],
) -> None:
    runs = [*study(), *changed([run(**settings)], lambda record: record.dataset.update(fingerprint="other"))]
    assert "the data has changed in between" in told(runs)
    (target,) = compared(runs).values()
    assert "images=other" in " ".join(row.arm.name for row in target.rows)


def test_sets_of_one_name_that_differ_in_their_training_images_are_told_by_their_folders() -> None:
    runs = study(dataset__root="few") + changed(
        study(dataset__root="many"), lambda record: record.dataset.update(fingerprint="many")
    )
    (target,) = compared(runs).values()
    assert {row.arm.labels["dataset.root"] for row in target.rows} == {"few", "many"}
    assert "the data has changed" not in told(runs)


def test_the_same_run_before_and_after_its_data_changed_is_no_copy() -> None:
    first, second = run(seed=0), run(seed=0)
    second[1].dataset["fingerprint"] = "other"
    comparison = compare_runs([first, (Path("again"), second[1])], Question())
    assert comparison.copies == ()
    assert len(comparison.targets[0].rows) == 2


def test_runs_whose_source_was_trained_again_in_between_are_arms_apart() -> None:
    runs = [run(source="voc", seed=seed) for seed in range(3)] + [run(source="scratch", seed=seed) for seed in range(3)]
    for (_, record), digest in zip(runs, ("aaaa", "aaaa", "bbbb", "none", "none", "none"), strict=True):
        record.load = {"digest": digest}
    (target,) = compared(runs).values()
    rows = {row.arm.name: row for row in target.rows}
    assert {name: list(row.values) for name, row in rows.items()} == {
        "voc weights=aaaa": [0, 1],
        "voc weights=bbbb": [2],
        "scratch weights=-": [0, 1, 2],
    }
    assert rows["voc weights=aaaa"].baseline is rows["scratch weights=-"].arm


def test_an_older_run_that_does_not_say_its_sources_weights_is_a_copy_and_an_arm_with_one_that_does() -> None:
    runs = [older(run(seed=0)), run(seed=0), run(seed=1)]
    for _, record in runs[1:]:
        record.load = {"digest": "aaaa"}
    comparison = compare_runs([(Path("old"), runs[0][1]), *runs[1:]], Question())
    assert [path.name for path, _ in comparison.copies] == ["old"]
    assert [list(row.values) for row in comparison.targets[0].rows] == [[0, 1]]


# --------------------------------------------------------------------------------------------------- test or val


def test_where_every_run_has_the_same_test_images_they_are_compared_on_them() -> None:
    runs = [newer(one, test="T") for one in study()]
    (target,) = compared(runs).values()
    assert target.question.split == "test"
    for row in target.rows:
        values = [record.metrics["test"]["map"] for _, record in row.arm.runs]
        assert list(row.values.values()) == values
    assert "measured on the test images: every run has the same" in told(runs)


def test_where_a_run_has_no_test_images_all_are_compared_on_the_validation_images() -> None:
    runs = [newer(one, test="T") for one in study()]
    del runs[0][1].metrics["test"]
    assert compared(runs)["blood"].question.split == "val"
    assert "measured on the validation images: not every run was measured on test images: " + runs[0][0].name in told(
        runs
    )


def test_where_the_test_images_differ_the_validation_images_count() -> None:
    runs = [newer(one, test="T" if number else "other") for number, one in enumerate(study())]
    assert compared(runs)["blood"].question.split == "val"
    assert "the runs have different test images" in told(runs)


def test_without_test_images_it_says_how_to_get_some() -> None:
    assert "no run has test images, which dataset.test_fraction draws" in told(study())


def test_a_split_that_is_named_is_used() -> None:
    runs = [newer(one, test="T") for one in study()]
    (target,) = compared(runs, split="val").values()
    assert target.question.split == "val"
    assert "measured on the" not in told(runs, split="val")


def test_each_target_has_its_own_split() -> None:
    runs = [*(newer(one, test="T") for one in study()), *study(target="fruit")]
    assert {name: target.question.split for name, target in compared(runs).items()} == {"blood": "test", "fruit": "val"}


def test_runs_whose_validation_images_differ_meet_on_the_same_test_images() -> None:
    runs = [newer(one, test="T", val=f"val {one[1].choices['seed']}") for one in study()]
    (target,) = compared(runs).values()
    assert target.question.split == "test"
    assert len(target.group.runs) == 6


# -------------------------------------------------------------------------------------------------- no measurement

TRIED: dict[str, dict[str, Any]] = {
    "trainer.fast_dev_run=True": {"trainer__fast_dev_run": True},
    "trainer.overfit_batches=0.1": {"trainer__overfit_batches": 0.1},
    "measured on 16 of 100 val images, trainer.limit_val_batches=2": {"trainer__limit_val_batches": 2},
}


@pytest.mark.parametrize("why", TRIED)
def test_a_run_that_is_no_measurement_is_left_out_and_named(why: str) -> None:
    path, record = run(strategy="partial_freeze", ap=0.99, **TRIED[why])
    if "measured on" in why:
        record.metrics["val"]["images"] = 16
    comparison = compare_runs([*study(), (path, record)], Question())
    assert path.name not in names(comparison)
    assert f"{path.name}: {why}" in "\n".join(notes(comparison))


@pytest.mark.parametrize(
    "settings",
    [
        {"trainer__fast_dev_run": False, "trainer__overfit_batches": 0.0, "trainer__limit_val_batches": None},
        {"trainer__limit_val_batches": 1.0},
        {"trainer__limit_val_batches": 1000},
    ],
)
def test_a_run_that_saw_every_image_is_compared_whatever_the_setting_is_called(settings: dict[str, Any]) -> None:
    assert len(names(compare_runs([run(**settings)], Question()))) == 1


def test_training_on_a_share_of_the_batches_is_another_budget() -> None:
    runs = [*study(), run(seed=0, trainer__limit_train_batches=0.5)]
    rows = {row.arm.name: row for row in compared(runs)["blood"].rows}
    assert rows["imagenet full limit_train_batches=0.5"].baseline is None


def test_a_test_on_a_part_of_the_images_does_not_count_and_the_validation_does() -> None:
    runs = [newer(one, test="T") for one in study()]
    runs[0][1].metrics["test"]["images"] = 8
    comparison = compare_runs(runs, Question())
    assert comparison.splits == ["val"]
    assert runs[0][0].name in names(comparison)
    asked = compare_runs(runs, Question(split="test"))
    assert [one.path.name for one in asked.unmeasured] == [runs[0][0].name]


def test_nothing_but_tries_is_an_error_that_names_them() -> None:
    with pytest.raises(UserError, match=r"blood-imagenet-full-seed0: trainer.fast_dev_run=3"):
        compare_runs([run(trainer__fast_dev_run=3)], Question())


# --------------------------------------------------------------------------------------------------- older records


def older(run: Run) -> Run:
    """As version 1 wrote it: without the settings that came later, and with one fingerprint for all splits."""
    run[1].schema_version = 1
    return run


def test_an_older_record_is_of_the_arm_whose_settings_it_has_by_default() -> None:
    runs = [older(run(seed=0)), newer(run(seed=1, strategy__cosine_scale=None, trainer__accumulate_grad_batches=1))]
    (target,) = compared(runs).values()
    assert [list(row.values) for row in target.rows] == [[0, 1]]


def test_a_setting_that_is_not_the_default_parts_an_older_record_from_a_newer() -> None:
    runs = [older(run(seed=0)), newer(run(seed=1, trainer__accumulate_grad_batches=2))]
    (target,) = compared(runs).values()
    assert {row.arm.name for row in target.rows} == {"accumulate_grad_batches=1", "accumulate_grad_batches=2"}


def test_a_run_done_by_two_versions_counts_once_by_the_newer() -> None:
    first, second = older(run(seed=0)), newer(run(seed=0, trainer__accumulate_grad_batches=1))
    comparison = compare_runs([(Path("old"), first[1]), (Path("new"), second[1])], Question())
    assert names(comparison) == {"new"}
    assert [path.name for path, _ in comparison.copies] == ["old"]


def test_a_run_that_also_measured_what_it_forgot_is_not_a_second_run_of_its_seed() -> None:
    runs = [run(seed=0, evaluation__retention=False), run(seed=0, evaluation__retention=True)]
    (target,) = compared([runs[0], (Path("with retention"), runs[1][1])]).values()
    assert [list(row.values) for row in target.rows] == [[0]]


def drawn(words: str) -> list[Run]:
    """The same images, whatever the seed that would draw them."""
    runs = [run(seed=seed, dataset__split_seed=split_seed) for seed in range(2) for split_seed in (seed,)]
    return changed(runs, lambda record: record.dataset.update(splits_from={"train": "found: train", "val": words}))


def test_how_splits_are_drawn_makes_no_arms_where_none_is() -> None:
    (target,) = compare_runs(drawn("found: val"), Question()).targets
    assert [len(arm.runs) for arm in target.arms] == [2]
    (target,) = compare_runs(drawn("drawn: 0.2 of train"), Question()).targets
    assert [len(arm.runs) for arm in target.arms] == [1, 1]
