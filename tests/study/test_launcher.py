"""A study runs its cells apart from each other and says at the end what became of each."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from headstart import cli
from headstart.config.compose import compose
from headstart.records.record import RunRecord, read_all
from headstart.study import launcher
from headstart.study.command import Command, labels
from headstart.study.places import Places
from headstart.study.pool import Job


class FakePool:
    """In place of the processes: what each job came to, by an override in its command."""

    codes: ClassVar[dict[str, str]] = {}
    jobs: ClassVar[list[Job]] = []
    places: ClassVar[Places]
    study = ""

    def __init__(self, jobs: Sequence[Job], places: Places, study: str, tell: Callable[[Job | None], None]) -> None:
        FakePool.jobs, FakePool.places, FakePool.study = list(jobs), places, study
        self.tell = tell

    def run(self) -> None:
        for job in FakePool.jobs:
            reason = next((reason for word, reason in FakePool.codes.items() if word in job.words), None)
            job.status, job.reason = ("failed", reason) if reason else ("finished", "")
            job.value = None if reason else 0.5
            self.tell(job)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def study(overrides: list[str], monkeypatch: pytest.MonkeyPatch, failing: dict[str, str] | None = None) -> list[Job]:
    """The jobs of the study, in their order."""
    FakePool.codes, FakePool.jobs = failing or {}, []
    monkeypatch.setattr(launcher, "Pool", FakePool)
    monkeypatch.setattr(sys, "argv", ["headstart", "train", "-m", *overrides])
    cli.main(["train", "-m", *overrides])
    return FakePool.jobs


def test_each_combination_is_a_single_run_of_its_own(monkeypatch, tmp_path):
    jobs = study(["strategy=full,head_only", "seed=0,1", "trainer.max_epochs=1", "study.jobs=3"], monkeypatch)
    assert len(jobs) == 4
    assert FakePool.places.number == 3
    assert jobs[0].words[1:4] == ["-m", "headstart", "train"]
    assert jobs[3].words[4:] == ["strategy=head_only", "seed=1", "trainer.max_epochs=1"]
    assert [job.label for job in jobs][:2] == ["strategy=full seed=0", "strategy=full seed=1"]
    assert [path.name for path in tmp_path.rglob("*.*")] == ["multirun.yaml"]  # all that Hydra leaves of its own


def test_a_part_that_the_strategy_does_not_have_can_be_swept(monkeypatch):
    jobs = study(["strategy=full", "strategy.pull.strength=1,10"], monkeypatch)
    assert [job.label for job in jobs] == ["strategy.pull.strength=1", "strategy.pull.strength=10"]
    assert len({job.folder for job in jobs}) == 2
    assert all("-imagenet-full-seed0-" in job.folder.name for job in jobs)


def test_what_makes_no_sense_is_told_recorded_and_left_out_and_is_no_failure(monkeypatch, capsys, tmp_path):
    jobs = study(["source=scratch,imagenet", "strategy=full,head_only"], monkeypatch)
    assert [job.words[4:] for job in jobs] == [
        ["source=scratch", "strategy=full"],
        ["source=imagenet", "strategy=full"],
        ["source=imagenet", "strategy=head_only"],
    ]
    out = capsys.readouterr().out
    assert "1 not applicable" in out
    reason, label = out.split("1 not applicable\n")[1].splitlines()[:2]
    assert reason.startswith("  source=scratch with strategy=head_only would freeze")
    assert label == "    source=scratch strategy=head_only"
    ((folder, record),) = read_all(tmp_path)
    assert folder.name.startswith("shapes-retinanet-efficientnet_lite0-scratch-head_only-seed0-")
    assert record.status == "not_applicable"
    assert record.choices["source"] == "scratch"
    assert record.error is not None
    assert "would freeze" in record.error["message"]


def test_a_refusal_does_not_overwrite_what_a_run_has_left(monkeypatch, tmp_path):
    study(["source=scratch", "strategy=head_only,full"], monkeypatch)
    ((folder, record),) = read_all(tmp_path)
    kept = replace(record, status="interrupted")
    kept.write(folder / "record.json")
    study(["source=scratch", "strategy=head_only,full"], monkeypatch)
    assert RunRecord.read(folder / "record.json") == kept


def test_a_setting_that_was_typed_and_has_no_effect_is_said_once(monkeypatch, capsys):
    jobs = study(["scheduler=constant,warmup_cosine", "scheduler.final_factor=0.5", "seed=0,1"], monkeypatch)
    assert len(jobs) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "has no effect" in line]
    assert lines == [
        "scheduler.final_factor=0.5 has no effect: scheduler.decay=constant does not go down. (in 2 of 4 cells)"
    ]


def test_a_cell_whose_files_are_missing_once_still_knows_what_it_was_begun_with(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path / "nowhere"))
    for _ in range(2):
        with pytest.raises(SystemExit):
            study(["dataset=shapes,kangaroo"], monkeypatch)
        ((folder, record),) = read_all(tmp_path)
        assert record.status == "failed"
        replace(record, dataset={"name": "kangaroo"}).write(folder / "record.json")
    with pytest.raises(SystemExit):
        study(["dataset=shapes,kangaroo"], monkeypatch)
    assert RunRecord.read(folder / "record.json").dataset == {"name": "kangaroo"}


def test_missing_files_fail_their_cell_with_a_record_and_no_process(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit):
        study(["dataset=shapes,kangaroo"], monkeypatch)
    assert [job.words[4:] for job in FakePool.jobs] == [["dataset=shapes"]]
    assert re.search(r"\n  dataset.root=.* does not exist.*\n    dataset=kangaroo\n", capsys.readouterr().out)
    ((_, record),) = read_all(tmp_path)
    assert record.status == "failed"


def test_a_failed_cell_ends_neither_the_study_nor_is_forgotten(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        study(["seed=0,1,2"], monkeypatch, {"seed=1": "UserError: no such image"})
    assert stopped.value.code == 1
    found = capsys.readouterr()
    assert "2 finished" in found.out
    assert "1 failed\n  UserError: no such image\n    seed=1\n" in found.out
    assert "1 of 3 cells failed; the same command runs those again" in found.err


def test_cells_that_failed_for_one_reason_stand_below_it(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        study(["seed=0,1,2"], monkeypatch, {"seed=1": "no image", "seed=2": "no image"})
    assert "2 failed\n  no image\n    seed=1\n    seed=2\n" in capsys.readouterr().out


def test_a_source_is_trained_once_before_the_first_cell_that_needs_it(monkeypatch):
    words = ["source=imagenet,voc2007_1000", "seed=0,1", "dataset=shapes", "study.sources_dir=shared"]
    monkeypatch.setattr(launcher, "check_all_files", lambda config: None)
    jobs = study(words, monkeypatch)
    assert [job.is_source for job in jobs] == [False, False, True, False, False]
    source = jobs[2]
    assert source.words[-1] == "study.only_source=1"
    assert "source=voc2007_1000" in source.words
    assert source.folder.parent == Path("shared")
    assert [job.needs for job in jobs] == [None, None, None, source.folder, source.folder]


def test_a_chain_of_sources_is_trained_from_its_beginning(monkeypatch):
    monkeypatch.setattr(launcher, "check_all_files", lambda config: None)
    jobs = study(["source=pretrained", "source@source.source=voc2007_1000", "seed=0,1"], monkeypatch)
    assert [job.words[-1] for job in jobs[:2]] == ["study.only_source=2", "study.only_source=1"]
    assert [job.needs for job in jobs] == [None, jobs[0].folder, jobs[1].folder, jobs[1].folder]


def test_a_sweeper_sees_each_cells_history_under_its_place_in_the_batch(monkeypatch):
    seen = []
    cells = {2: launcher.Cell("a", compose(["seed=2"]), Command(("seed=2",)))}
    jobs, _ = launcher.make_jobs(cells, lambda place, rows: bool(seen.append((place, rows))))
    assert jobs[2].watch is not None
    jobs[2].watch([{"epoch": 1.0}])
    assert seen == [(2, [{"epoch": 1.0}])]


@pytest.mark.parametrize(
    ("cells", "given", "expected"),
    [
        ([["seed=0", "model=fcos"], ["seed=1", "model=fcos"]], [], ["seed=0", "seed=1"]),
        ([["seed=0", "model=fcos", "study.jobs=2"]], ["seed=0,1", "model=fcos"], ["seed=0"]),  # a batch of one
        ([["seed=0", "hydra/sweeper=optuna"]], ["seed=0"], ["seed=0"]),
    ],
)
def test_a_cell_is_called_by_what_tells_it_from_others(cells, given, expected):
    assert labels(cells, given) == expected


def test_the_study_has_one_name_however_many_run_at_once(monkeypatch):
    names = []
    for words in (["seed=0,1"], ["seed=0,1", "study.jobs=2"], ["seed=0,2"]):
        study(words, monkeypatch)
        names.append(FakePool.study)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "seed=0,1", "study.jobs=0"], "study.jobs=0 must be 1"),
        (["-m", "seed=0,1", "study.jobs=aut"], "study.jobs=aut must be 1 or more, or auto"),
        (["study.jobs=2"], "add -m"),
        (["study.jobs=auto"], "add -m"),
    ],
)
def test_a_number_of_jobs_that_cannot_be_is_refused(capsys, words, said):
    with pytest.raises(SystemExit):
        cli.main(["train", *words])
    assert said in capsys.readouterr().err


def test_a_misspelt_choice_in_the_last_cell_stops_before_the_first_one(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        study(["strategy=full,head_onyl"], monkeypatch)
    assert FakePool.jobs == []
    assert "Did you mean 'head_only'?" in capsys.readouterr().err


def test_groups_of_a_source_that_is_no_run_are_refused_with_the_command_that_works(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        study(["source=imagenet,pretrained", "dataset@source.dataset=voc2007_1000"], monkeypatch)
    assert "headstart train --config-dir mine -m source=imagenet,from_voc2007_1000" in capsys.readouterr().err


def test_the_users_folder_of_configuration_reaches_every_cell(monkeypatch, tmp_path):
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("defaults: [schema_base, _self_]\nname: mine\nlr: {adamw: 0.1}\n")
    jobs = study(["--config-dir", str(tmp_path), "strategy=mine,full"], monkeypatch)
    assert jobs[0].words[4:] == ["--config-dir", str(Path(tmp_path)), "strategy=mine"]
