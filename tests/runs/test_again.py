"""A run that was begun before is told, gone on with, or set aside: nothing is mixed, nothing is lost."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstart.config.compose import compose
from headstart.config.schema import OnChange, RunConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.again import begin, finished_before, set_aside_older
from headstart.runs.attempt import attempt, why_failed
from headstart.runs.inputs import input_stamp, same_inputs, write_inputs

ENVIRONMENT = {"precision": "32-true", "device": "cpu", "threads": 2, "packages": {"torch": "2.6"}}


@pytest.fixture
def config(tmp_path) -> RunConfig:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.xml").write_text("a")
    return compose(["dataset=voc_folder", f"dataset.root={tmp_path}/photos", f"output_dir={tmp_path}"])


def start(images: int = 2, digest: str = "d", **environment: Any) -> RunRecord:
    return RunRecord(
        dataset={
            "class_names": ["cat"],
            "fingerprints": {"train": f"{images} images", "val": "v"},
            "num_images": {"train": images, "val": 1},
            "num_boxes": {"train": {"cat": images}, "val": {"cat": 1}},
            "outside": 0,
        },
        load={"digest": digest, "source": "imagenet", "where": "a package"},
        environment=ENVIRONMENT | environment,
    )


def finished(config: RunConfig, folder: Path) -> bytes:
    """What its record holds."""
    folder.mkdir()
    replace(start(), status="finished", metrics={"val": {"map": 0.5}}).write(folder / "record.json")
    write_inputs(folder, input_stamp(config))
    return (folder / "record.json").read_bytes()


def labels_added(config: RunConfig) -> None:
    (Path(config.dataset.root) / "b.xml").write_text("b")  # type: ignore[attr-defined]


def never() -> RunRecord:
    raise AssertionError("read although no file has changed")


def aside(folder: Path) -> list[Path]:
    return list((folder.parent / ".replaced").glob("*"))


# ------------------------------------------------------------------------------------------------ finished


def test_a_finished_run_whose_files_are_the_same_is_told_without_reading_them(config, tmp_path):
    finished(config, tmp_path / "run")
    found = finished_before(config, tmp_path / "run", never)
    assert found is not None
    assert found.metrics == {"val": {"map": 0.5}}


def test_touched_files_that_hold_the_same_are_read_once(config, tmp_path):
    written = finished(config, tmp_path / "run")
    os.utime(tmp_path / "photos" / "a.xml", ns=(1, 1))
    assert finished_before(config, tmp_path / "run", start) is not None
    assert finished_before(config, tmp_path / "run", never) is not None
    assert (tmp_path / "run" / "record.json").read_bytes() == written


def test_images_outside_of_the_folder_are_read_each_time(config, tmp_path):
    finished(config, tmp_path / "run")
    os.utime(tmp_path / "photos" / "a.xml", ns=(1, 1))
    found = start()
    found.dataset["outside"] = 1
    assert finished_before(config, tmp_path / "run", lambda: found) is not None
    assert not same_inputs(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (start(images=3), r"train has 3 images instead of 2 and 3 boxes instead of 2"),
        (start(digest="e"), r"the source imagenet has other weights"),
    ],
)
def test_a_finished_run_of_other_data_or_weights_is_refused_with_the_choices(config, tmp_path, now, said):
    written = finished(config, tmp_path / "run")
    labels_added(config)
    with pytest.raises(UserError, match=said) as raised:
        finished_before(config, tmp_path / "run", lambda: now)
    assert "on_change=restart sets it aside" in str(raised.value)
    assert "on_change=keep keeps its result" in str(raised.value)
    assert (tmp_path / "run" / "record.json").read_bytes() == written
    assert why_failed(tmp_path / "run", 1) == str(raised.value)  # what a study shows
    with pytest.raises(UserError, match=said):  # and it is not forgotten
        finished_before(config, tmp_path / "run", lambda: now)


def test_data_that_cannot_be_read_any_more_says_why_in_a_study_too(config, tmp_path):
    finished(config, tmp_path / "run")
    labels_added(config)

    def fails() -> RunRecord:
        raise UserError("b.xml: no root element")

    with pytest.raises(UserError, match=r"b\.xml"):
        finished_before(config, tmp_path / "run", fails)
    assert why_failed(tmp_path / "run", 1) == "b.xml: no root element"


def test_a_finished_run_can_be_kept_or_set_aside(config, tmp_path, capsys):
    written = finished(config, tmp_path / "run")
    labels_added(config)
    keep, restart = replace(config, on_change=OnChange.keep), replace(config, on_change=OnChange.restart)
    assert finished_before(keep, tmp_path / "run", lambda: start(images=3)) is not None
    assert "train has 3 images instead of 2" in capsys.readouterr().out
    assert (tmp_path / "run" / "record.json").read_bytes() == written
    assert not same_inputs(config, tmp_path / "run")  # kept is not the same
    assert finished_before(restart, tmp_path / "run", lambda: start(images=3)) is None
    (old,) = aside(tmp_path / "run")
    assert (old / "record.json").read_bytes() == written
    assert not (tmp_path / "run").exists()


def test_a_finished_run_stays_so_on_other_hardware(config, tmp_path):
    finished(config, tmp_path / "run")
    labels_added(config)
    assert finished_before(config, tmp_path / "run", lambda: start(device="NVIDIA H100", precision="x")) is not None


def test_a_record_that_cannot_be_read_is_no_dead_end(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text("{")
    with pytest.raises(UserError, match="rerun=true sets its folder aside"):
        finished_before(config, tmp_path / "run", never)
    set_aside_older(replace(config, rerun=True), tmp_path / "run")
    assert finished_before(config, tmp_path / "run", never) is None


# --------------------------------------------------------------------------------------------- interrupted


@pytest.fixture
def go_on(tmp_path) -> Callable[..., RunRecord]:
    """A run is begun and interrupted after an epoch; then the same command finds what `found` says."""
    folder = tmp_path / "run"

    def call(config: RunConfig, found: RunRecord) -> RunRecord:
        with pytest.raises(KeyboardInterrupt):
            _stopped(config, folder, start())
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").touch()
        with attempt(folder, config, {}) as record:
            begin(config, folder, record, found, "stamp")
        return RunRecord.read(folder / "record.json")

    return call


def _stopped(config: RunConfig, folder: Path, found: RunRecord) -> None:
    with attempt(folder, config, {}) as record:
        begin(config, folder, record, found, "stamp")
        raise KeyboardInterrupt


def test_what_is_known_at_the_start_is_on_the_disk_before_training(config, tmp_path):
    with attempt(tmp_path / "run", config, {}) as record:
        begin(config, tmp_path / "run", record, start(), "stamp")
        on_disk = RunRecord.read(tmp_path / "run" / "record.json")
        assert (on_disk.status, on_disk.dataset, on_disk.load) == ("interrupted", start().dataset, start().load)
        assert on_disk.environment["precision"] == "32-true"


def test_the_same_goes_on_and_what_moves_last_bits_is_noted(config, go_on, capsys):
    found = go_on(config, start(threads=1))
    assert len(found.environment["attempts"]) == 2
    assert found.environment["changes"] == ["threads 2 -> 1"]
    assert "threads 2 -> 1: it will not equal an undisturbed run" in capsys.readouterr().out


@pytest.mark.parametrize("on_change", [OnChange.error, OnChange.keep])
@pytest.mark.parametrize("found", [start(images=3), start(digest="e")])
def test_other_data_or_weights_are_never_mixed_into_a_run(config, go_on, tmp_path, on_change, found):
    with pytest.raises(UserError, match="a run that goes on would mix the two"):
        go_on(replace(config, on_change=on_change), found)
    kept = RunRecord.read(tmp_path / "run" / "record.json")
    assert (kept.status, kept.dataset, kept.load) == ("failed", start().dataset, start().load)
    assert "on_change=restart" in why_failed(tmp_path / "run", 1)
    with attempt(tmp_path / "run", config, {}) as record:  # restored, the same command goes on
        begin(config, tmp_path / "run", record, start(), "stamp")


def test_a_class_more_is_told_by_name(config, go_on):
    found = start()
    found.dataset |= {"class_names": ["cat", "dog"], "fingerprints": {"train": "x", "val": "y"}}
    with pytest.raises(UserError, match=r"the classes are others \(new: dog\)"):
        go_on(config, found)


def test_other_arithmetic_is_refused_unless_kept_and_then_recorded(config, go_on, tmp_path):
    with pytest.raises(UserError, match=r"precision 32-true -> bf16-mixed.*on_change=keep goes on with it"):
        go_on(config, start(precision="bf16-mixed"))
    keep = replace(config, on_change=OnChange.keep)
    with attempt(tmp_path / "run", keep, {}) as record:
        begin(keep, tmp_path / "run", record, start(precision="bf16-mixed"), "stamp")
    found = RunRecord.read(tmp_path / "run" / "record.json")
    assert found.environment["precision"] == "bf16-mixed"
    assert found.environment["changes"] == ["precision 32-true -> bf16-mixed"]


def test_restart_sets_the_interrupted_run_aside_and_begins_anew(config, go_on, tmp_path):
    found = go_on(replace(config, on_change=OnChange.restart), start(images=3))
    (old,) = aside(tmp_path / "run")
    assert RunRecord.read(old / "record.json").dataset == start().dataset
    assert (old / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert found.dataset == start(images=3).dataset
    assert (len(found.environment["attempts"]), found.environment["changes"]) == (1, [])


def test_a_checkpoint_without_a_word_of_its_data_is_not_gone_on_with(config, go_on, tmp_path):
    with pytest.raises(UserError):
        go_on(config, start(images=3))
    (tmp_path / "run" / "record.json").unlink()
    with (
        pytest.raises(UserError, match="does not say on what data"),
        attempt(tmp_path / "run", config, {}) as record,
    ):
        begin(config, tmp_path / "run", record, start(), "stamp")


# --------------------------------------------------------------------------------------------------- rerun


def begun(folder: Path, status: str, when: str, **environment: Any) -> None:
    folder.mkdir()
    RunRecord(status, environment={"attempts": [when], **environment}).write(folder / "record.json")


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted", "not_applicable"])
def test_rerun_sets_aside_whatever_an_earlier_command_left(config, tmp_path, status):
    begun(tmp_path / "run", status, "2026-01-01T10:00:00+00:00")
    set_aside_older(config, tmp_path / "run")
    assert (tmp_path / "run").exists()
    set_aside_older(replace(config, rerun=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (old,) = aside(tmp_path / "run")
    assert RunRecord.read(old / "record.json").status == status


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_what_the_study_itself_began_is_gone_on_with(config, tmp_path, monkeypatch, status):
    monkeypatch.setenv("HEADSTART_STARTED", "2026-01-01T10:00:00.500+00:00")
    begun(tmp_path / "mine", status, "2026-01-01T10:00:01.000+00:00")
    begun(tmp_path / "older", status, "2026-01-01T10:00:00.250+00:00")
    for name in ("mine", "older"):
        set_aside_older(replace(config, rerun=True), tmp_path / name)
    assert [path.name for path in (tmp_path / "mine", tmp_path / "older") if path.exists()] == ["mine"]


@pytest.mark.parametrize(("restarts", "stays"), [("1", True), ("0", False)])
def test_a_slurm_job_that_is_queued_again_goes_on_with_its_rerun(config, tmp_path, monkeypatch, restarts, stays):
    """A second command in the same allocation is no such job."""
    begun(tmp_path / "run", "interrupted", "2026-01-01T10:00:00+00:00", job="17")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    set_aside_older(replace(config, rerun=True), tmp_path / "run")
    assert (tmp_path / "run").exists() == stays
