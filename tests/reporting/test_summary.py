"""The table says which arm is better, how sure that is, and what it cost; it never compares what differs."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from headstart.errors import UserError
from headstart.reporting.summary import Summary, summarise
from headstart.say import SafeConsole

MakeRun = Callable[..., Any]


def column(summary: Summary, name: str) -> list[str]:
    position = summary.columns.index(name)
    return [row[position] for row in summary.rows]


@pytest.fixture
def study(make_run: MakeRun) -> Summary:
    """full with three seeds, head_only with three seeds at a third of the cost."""
    runs = [make_run(ap, seed, 300.0) for seed, ap in enumerate((0.40, 0.42, 0.44))]
    runs += [make_run(ap, seed, 100.0, strategy__name="head_only") for seed, ap in enumerate((0.30, 0.31, 0.32))]
    return summarise(runs)


def test_seeds_are_one_arm_with_mean_and_interval(study: Summary) -> None:
    # 0.04969 by hand in test_statistics; the second arm deviates half as much
    assert column(study, "mAP") == ["0.420 ± 0.050", "0.310 ± 0.025"]
    assert column(study, "mAP50") == ["0.620 ± 0.050", "0.510 ± 0.025"]
    assert column(study, "seeds") == ["3", "3"]


def test_cost_is_relative_to_the_dearest_arm(study: Summary) -> None:
    assert column(study, "CPU time") == ["300 s", "100 s"]
    assert column(study, "cost") == ["100%", "33%"]
    assert column(study, "trained") == ["1.23 M"] * 2


def test_only_choices_that_differ_are_shown_and_what_they_imply_is_not(study: Summary) -> None:
    # strategy.freeze_through differs too, but the strategy's name says so
    assert study.columns[:2] == ("strategy", "seeds")
    assert column(study, "strategy") == ["full", "head_only"]


def test_a_setting_that_no_choice_explains_makes_an_arm_of_its_own(make_run: MakeRun) -> None:
    summary = summarise([make_run(0.4, optimizer__lr=1e-3), make_run(0.5, optimizer__lr=1e-4)])
    assert column(summary, "optimizer.lr") == ["0.0001", "0.001"]
    assert column(summary, "mAP") == ["0.500", "0.400"]


def test_a_setting_inside_a_group_is_shown_when_its_name_does_not_tell(make_run: MakeRun) -> None:
    runs = [make_run(strategy__name="head_only"), make_run(), make_run(strategy__norm="train")]
    summary = summarise(runs)
    assert summary.columns[:3] == ("strategy", "strategy.norm", "seeds")
    assert sorted(zip(column(summary, "strategy"), column(summary, "strategy.norm"), strict=True)) == [
        ("full", "affine_only"),  # the default of the two records that do not say
        ("full", "train"),
        ("head_only", "affine_only"),
    ]


def test_what_cannot_change_the_result_makes_no_arm(make_run: MakeRun) -> None:
    summary = summarise([make_run(0.4, seed=0), make_run(0.6, seed=1, dataset__num_workers=4)])
    assert column(summary, "seeds") == ["2"]


def test_one_seed_is_said_to_have_no_interval(make_run: MakeRun) -> None:
    summary = summarise([make_run(0.4)])
    assert column(summary, "mAP") == ["0.400"]
    assert any("1 seed: no interval" in note for note in summary.notes)


def test_runs_evaluated_on_different_images_are_refused_by_name(make_run: MakeRun) -> None:
    runs = [make_run(), make_run(strategy__name="head_only", fingerprint="beef")]
    with pytest.raises(UserError, match=r"(?s)f00d\): imagenet-full-seed0.*beef\): imagenet-head_only-seed0"):
        summarise(runs)


def test_unfinished_runs_are_left_out_and_named(make_run: MakeRun) -> None:
    summary = summarise([make_run(0.4), make_run(None, seed=1, status="failed", fingerprint="none yet")])
    assert column(summary, "mAP") == ["0.400"]
    assert any("imagenet-full-seed1 (failed)" in note for note in summary.notes)


def test_no_finished_run_is_an_error_that_says_how_to_make_one(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match=r"python train\.py"):
        summarise([make_run(status="interrupted")])


def test_a_run_without_ground_truth_has_no_number(make_run: MakeRun) -> None:
    assert column(summarise([make_run(None)]), "mAP") == ["-"]


def test_every_output_holds_every_cell(study: Summary) -> None:
    console = SafeConsole(width=200, record=True, file=io.StringIO())
    console.print(study.as_rich())
    text, markdown = console.export_text(), study.as_markdown()
    for row in study.rows:
        assert "| " + " | ".join(row) + " |" in markdown
        assert all(cell in text for cell in row)
    assert list(csv.reader(io.StringIO(study.as_csv()))) == [list(study.columns), *map(list, study.rows)]


def test_tables_and_plots_are_made_without_torch() -> None:
    code = "import sys, headstart.reporting.summary, headstart.reporting.plots; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
