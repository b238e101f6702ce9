"""A number says what it owes to choices on the images it is judged by, and to the arithmetic it was computed in."""

import copy
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.advice import advice
from headstart.reporting.comparison import Comparison, compare_runs
from headstart.reporting.comparison_csv import as_csv
from headstart.reporting.notes import notes
from headstart.reporting.page import as_html
from headstart.reporting.rows import Question, Row
from headstart.reporting.tables import terminal
from headstart.say import SafeConsole

from .study_records import make_record

Run = tuple[Path, RunRecord]


def run(**keywords: Any) -> Run:
    name, record = make_record(**keywords)
    return Path("outputs") / name, record


def rows_of(runs: Sequence[Run], **question: Any) -> dict[str, Row]:
    return {row.arm.name: row for row in compare_runs(runs, Question(**question)).targets[0].rows}


def shown(comparison: Comparison) -> dict[str, str]:
    """Everything that a user reads, by place, blanks made one."""
    console = SafeConsole(width=80, file=io.StringIO(), record=True, highlight=False)
    console.print(terminal(comparison))
    texts = {
        "terminal": console.export_text(),
        "csv": as_csv(comparison),
        "page": as_html(comparison, Path("outputs")),
        "notes": "\n".join(notes(comparison)),
        "advice": advice(comparison.targets[0]),
    }
    return {place: " ".join(text.split()) for place, text in texts.items()}


def selecting(**selection: int) -> list[Run]:
    """Two arms, of which head_only chose among more and is the best for it."""
    runs = [run(strategy="full", seed=seed, ap=0.4 + 0.01 * seed) for seed in range(2)]
    for seed in range(2):
        path, record = run(strategy="head_only", seed=seed, ap=0.5 + 0.01 * seed)
        record.metrics["selection"] = {"epochs": 20} | selection
        runs.append((path, record))
    return runs


def test_the_best_of_five_mixtures_is_marked_wherever_it_is_shown() -> None:
    runs = selecting(mixtures=5)
    rows = rows_of(runs)
    assert {name: row.selected for name, row in rows.items()} == {"full": "", "head_only": "best of 5 mixtures"}
    texts = shown(compare_runs(runs, Question()))
    for place in ("terminal", "page"):
        assert "chosen on these images: best of 5 mixtures" in texts[place].replace("│", ""), place
    assert "head_only (best of 5 mixtures)" in texts["notes"]
    assert "best of 5 mixtures" in texts["advice"]
    assert "best of 5 mixtures" in texts["csv"]


def test_trials_of_a_search_and_many_more_epochs_are_marked() -> None:
    assert rows_of(selecting(trials=20))["head_only"].selected == "best of 20 trials"
    assert rows_of(selecting(epochs=60))["head_only"].selected == "best of 60 epochs"  # full has 20
    assert rows_of(selecting(mixtures=3, epochs=60))["head_only"].selected == "best of 3 mixtures and of 60 epochs"


def test_a_few_more_epochs_are_no_mark() -> None:
    assert {row.selected for row in rows_of(selecting(epochs=40)).values()} == {""}


def test_an_older_record_is_marked_by_the_mixtures_and_validations_it_lists() -> None:
    runs = selecting()
    for _, record in runs[2:]:
        del record.metrics["selection"]
        record.metrics["interpolation"] = [{"alpha": alpha / 4, "map": 0.4} for alpha in range(5)]
    assert rows_of(runs)["head_only"].selected == "best of 5 mixtures"
    for _, record in runs[:2]:
        record.metrics["history"] = record.metrics["history"][
            :9
        ]  # 8 validated epochs and the untrained; others have 20
    assert rows_of(runs)["head_only"].selected == "best of 5 mixtures and of 20 epochs"


def test_where_all_arms_chose_alike_none_is_marked() -> None:
    runs = selecting(mixtures=5)
    for _, record in runs[:2]:
        record.metrics["selection"] = {"epochs": 20, "mixtures": 5}
    assert {row.selected for row in rows_of(runs).values()} == {""}


def test_on_test_images_nothing_was_chosen() -> None:
    runs = selecting(mixtures=5)
    for _, record in runs:
        record.metrics["test"] = copy.deepcopy(record.metrics["val"])
        record.dataset["num_images"]["test"] = 100
    assert {row.selected for row in rows_of(runs).values()} == {""}
    assert {row.selected for row in rows_of(runs, split="val").values()} == {"", "best of 5 mixtures"}
    assert "chosen" not in shown(compare_runs(runs, Question()))["advice"]


# ------------------------------------------------------------------------------------------------------ conditions


def computed(*environments: dict[str, Any]) -> list[Run]:
    """A run of `full`, one of `head_only`, and more seeds of that one."""
    runs = []
    for number, environment in enumerate(environments):
        path, record = run(strategy="head_only" if number else "full", seed=max(0, number - 1))
        record.environment |= environment
        runs.append((path, record))
    return runs


def test_arms_in_other_precision_are_marked_and_named() -> None:
    runs = computed({"precision": "32-true"}, {"precision": "bf16-mixed"}, {"precision": "bf16-mixed"})
    rows = rows_of(runs)
    assert rows["full"].computed_in == "precision 32-true"
    assert rows["head_only"].computed_in == "precision bf16-mixed"
    texts = shown(compare_runs(runs, Question()))
    assert "32-true: full; bf16-mixed: head_only" in texts["terminal"]
    assert "precision bf16-mixed" in texts["page"]
    assert "precision bf16-mixed" in texts["csv"]


def test_an_arm_that_mixes_versions_or_devices_is_marked() -> None:
    old, new = {"packages": {"torch": "2.11.0", "numpy": "1"}}, {"packages": {"torch": "2.12.0", "numpy": "2"}}
    rows = rows_of(computed(old, old, new))
    assert rows["head_only"].computed_in == "torch 2.11.0 and 2.12.0"
    assert rows["full"].computed_in == "torch 2.11.0"
    texts = shown(compare_runs(computed(old, old, new), Question()))
    assert "2.11.0: full, head_only; 2.12.0: head_only. Within one arm: head_only." in texts["notes"]
    rows = rows_of(computed({"device": "cpu"}, {"device": "cpu"}, {"device": "A100"}))
    assert rows["head_only"].computed_in == "device cpu and A100"


def test_what_is_alike_or_not_recorded_is_no_mark() -> None:
    alike = {"precision": "32-true", "device": "cpu", "packages": {"torch": "2.12.0"}}
    assert {row.computed_in for row in rows_of(computed(alike, alike, alike)).values()} == {""}
    assert {row.computed_in for row in rows_of(computed(alike, {}, alike)).values()} == {""}


def test_the_device_of_an_older_record_is_that_of_its_machine_unless_it_asked_for_the_cpu() -> None:
    runs = computed({"gpus": []}, {"gpus": ["A100"]})
    assert rows_of(runs)["head_only"].computed_in == "device A100"
    for _, record in runs:
        record.config["trainer"]["accelerator"] = "cpu"
    assert rows_of(runs)["head_only"].computed_in == ""


def test_a_run_that_went_on_in_another_arithmetic_is_named() -> None:
    runs = computed({}, {"changes": ["torch 2.11.0 -> 2.12.0", "threads 2 -> 4"]}, {"changes": ["threads 2 -> 4"]})
    note = next(line for line in notes(compare_runs(runs, Question())) if "went on in another arithmetic" in line)
    assert note.endswith(f"{runs[1][0].name} (torch 2.11.0 -> 2.12.0).")


# ------------------------------------------------------------------------------------------------- cost of a source


def from_voc() -> list[Run]:
    """Two runs of `full` and one of `head_only` share a source; scratch has none."""
    runs = [run(source="scratch"), run(source="voc", seed=0), run(source="voc", seed=1)]
    runs.append(run(source="voc", strategy="head_only"))
    for _, record in runs[1:]:
        record.cost["source"] = {"cpu_seconds": 900.0, "wall_seconds": 600.0, "run": "outputs/sources/voc-seed0-1a"}
    return runs


def test_a_source_is_shared_by_the_runs_that_start_from_it_and_shown_beside_their_own_cost() -> None:
    runs = from_voc()
    rows = rows_of(runs)
    shares = {"cpu_seconds": 300.0, "wall_seconds": 200.0}  # 900 and 600 s, 3 runs
    assert {name: row.source_cost for name, row in rows.items()} == {
        "scratch full": {},
        "voc full": shares,
        "voc head_only": shares,
    }
    assert rows["voc full"].arm.cost("cpu_seconds") == 600.5  # its own: 600 and 601 s
    comparison = compare_runs(runs, Question())
    lines = {line["source"] + line["strategy"]: line for line in csv.DictReader(io.StringIO(as_csv(comparison)))}
    assert (lines["vocfull"]["source_cpu_seconds"], lines["vocfull"]["cpu_seconds"]) == ("300.0", "600.5")
    assert lines["scratchfull"]["source_wall_seconds"] == ""
    texts = shown(comparison)
    assert "voc-seed0-1a (3 runs)" in texts["notes"]
    assert "600 +300 613" in texts["terminal"]
    assert '<td class="n">+300</td>' in texts["page"]


def test_without_a_pretrained_source_there_is_no_column_of_it() -> None:
    comparison = compare_runs([run(source="scratch"), run()], Question())
    assert ">source</th>" not in shown(comparison)["page"].partition("<h3>Cost</h3>")[2]
    assert "source:" not in shown(comparison)["notes"]
    assert "CPU s wall s" in shown(comparison)["terminal"]


# ----------------------------------------------------------------------------------------------------- augmentation


def augmented(*arms: tuple[str, str, str], **settings: Any) -> list[Run]:
    """An arm each of (source, strategy, augmentation)."""
    runs = []
    for source, strategy, name in arms:
        path, record = run(source=source, strategy=strategy)
        record.config["augment"] = {"name": name, "hflip": 0.5 * (name != "none")} | settings
        runs.append((path.with_name(f"{path.name}-{name}"), record))
    return runs


def test_arms_that_differ_in_augmentation_and_in_something_else_are_marked_and_named() -> None:
    runs = augmented(("scratch", "full", "light"), ("imagenet", "head_only", "views"), ("imagenet", "full", "light"))
    rows = rows_of(runs)
    assert {row.computed_in for row in rows.values()} == {"augmentation light", "augmentation views"}
    texts = shown(compare_runs(runs, Question()))
    assert "augmentation is not the same in all runs, and may be what a difference is owed to" in texts["notes"]
    assert "augmentation views" in texts["page"]
    assert "augmentation views" in texts["csv"]


def test_a_study_of_augmentations_is_not_marked_where_each_was_tried_with_everything_else() -> None:
    crossed = [("imagenet", strategy, name) for strategy in ("full", "head_only") for name in ("none", "views")]
    assert {row.computed_in for row in rows_of(augmented(*crossed)).values()} == {""}
    assert "augmentation" not in shown(compare_runs(augmented(*crossed), Question()))["notes"]
    assert {row.computed_in for row in rows_of(augmented(*crossed[:3])).values()} != {""}


def test_an_augmentation_is_another_one_with_another_setting() -> None:
    runs = augmented(("imagenet", "full", "views")) + augmented(("imagenet", "head_only", "views"), hflip=0.25)
    assert {row.computed_in for row in rows_of(runs).values()} == {
        "augmentation views augment.hflip=0.5",
        "augmentation views augment.hflip=0.25",
    }


def test_features_that_are_stored_in_the_precision_that_others_compute_in_are_no_mark() -> None:
    """What a store holds is what the network gives in the run's precision, bit for bit (tests/features)."""
    stored = {"precision": "bf16-mixed", "feature_store": {"0": "neck"}}
    alike = computed(stored, {"precision": "bf16-mixed", "feature_store": {}})
    assert {row.computed_in for row in rows_of(alike).values()} == {""}
    other = computed(stored, {"precision": "32-true", "feature_store": {"0": "neck"}})
    assert rows_of(other)["full"].computed_in == "precision bf16-mixed"
