"""An interrupted run goes on by the same command, and comes out as if nothing had happened."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord

SETTINGS = ("dataset.num_train=16", "dataset.num_val=4", "trainer.max_epochs=5", "strategy=gradual_unfreeze")
PATIENCE_SECONDS = 180


def folder_in(outputs: Path) -> Path:
    (path,) = outputs.glob("*/record.json")
    return path.parent


def stop_in_the_epoch_after(epochs: int, words: list[str], folder: Path, stop: signal.Signals) -> tuple[int, str, str]:
    """Starts the command, waits for so many complete epochs, and sends the signal a moment later."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # What a shell starts in the background ignores Ctrl-C, and so do its children.
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(words, cwd=folder, env=environment, preexec_fn=hear, **pipes)  # type: ignore[call-overload]
    history = wait_for(lambda: row_of_epoch(epochs, folder / "outputs"), process, PATIENCE_SECONDS)
    assert history, "no such epoch"
    # What is written after that row, if it is: the test must not depend on it.
    wait_for(lambda: written_after(history, folder / "outputs"), process, 5)
    time.sleep(0.2)
    process.send_signal(stop)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out, err


def wait_for(condition, process, seconds: float):
    """What it gives once it gives something; None after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def row_of_epoch(epoch: int, outputs: Path) -> float | None:
    """When `history.csv` was written, if its last row is that epoch's or a later one's."""
    for path in outputs.glob("*/history.csv"):
        with path.open() as file:
            if int(list(csv.DictReader(file))[-1]["epoch"]) >= epoch:
                return path.stat().st_mtime
    return None


def written_after(moment: float, outputs: Path) -> bool:
    return any(path.stat().st_mtime > moment for path in outputs.glob("*/checkpoints/last.ckpt"))


def complete_epochs(outputs: Path) -> int:
    """Epochs after which the run can go on: those in its last checkpoint."""
    found = list(outputs.glob("*/checkpoints/last.ckpt"))
    return torch.load(found[0], weights_only=True)["epoch"] + 1 if found else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command, execute) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    result = execute(command(*SETTINGS), folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder_in(folder / "outputs")


@pytest.mark.slow
def test_ctrl_c_sigterm_and_sigkill_cost_the_epoch_in_progress_and_nothing_else(
    tmp_path, command, execute, undisturbed
):
    words = command(*SETTINGS)
    for epochs, stop in ((1, signal.SIGINT), (2, signal.SIGTERM), (3, signal.SIGKILL)):
        code, out, err = stop_in_the_epoch_after(epochs, words, tmp_path, stop)
        assert code == (-signal.SIGKILL if stop is signal.SIGKILL else 130), err
        assert ("the same command goes on" in err) == (stop is not signal.SIGKILL)
        assert ("Going on after the last complete epoch" in out) == (epochs > 1)
        left = RunRecord.read(folder_in(tmp_path / "outputs") / "record.json")
        assert left.status == "interrupted"
        assert left.dataset["fingerprints"].keys() == {"train", "val"}
        assert left.load["digest"]
        assert left.plan
        assert left.environment["precision"] == "32-true"
        assert complete_epochs(tmp_path / "outputs") == epochs
    result = execute(words, tmp_path)
    assert result.returncode == 0, result.stderr
    found, expected = (RunRecord.read(f / "record.json") for f in (folder_in(tmp_path / "outputs"), undisturbed))
    assert found.status == "finished"
    assert found.metrics == expected.metrics
    ours, theirs = (load_file(f / "model.safetensors") for f in (folder_in(tmp_path / "outputs"), undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [row["frozen_digest_before"] for row in found.plan] == [row["frozen_digest_before"] for row in expected.plan]


@pytest.mark.slow
def test_a_run_whose_monitor_stands_still_goes_on_where_it_was_killed(tmp_path, command, execute):
    """Nothing is detected, mAP is 0 in every epoch; and what the lost part of the fourth cost is counted."""
    words = command(*SETTINGS, "strategy=full", "model.score_threshold=0.999", "training.evaluate_untrained=false")
    words.append("training.keep=all")
    stop_in_the_epoch_after(3, words, tmp_path, signal.SIGKILL)
    folder = folder_in(tmp_path / "outputs")
    assert complete_epochs(tmp_path / "outputs") == 3
    spent = json.loads((folder / "checkpoints" / "cost.json").read_text())
    result = execute(words, tmp_path)
    assert result.returncode == 0, result.stderr
    record = RunRecord.read(folder / "record.json")
    assert [row["epoch"] for row in record.metrics["history"]] == [1, 2, 3, 4, 5]
    assert {row["val/map"] for row in record.metrics["history"]} == {0.0}
    total = json.loads((folder / "checkpoints" / "cost.json").read_text())
    assert total["images"] - spent["images"] == 2 * 16
    assert record.cost["wall_seconds"] == total["wall_seconds"] > spent["wall_seconds"] > 0


@pytest.mark.slow
def test_a_run_killed_in_its_second_phase_ends_with_the_weights_of_an_undisturbed_one(tmp_path, command, execute):
    words = command(*SETTINGS, "strategy=lp_ft")
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    assert execute(words, tmp_path / "undisturbed").returncode == 0
    stop_in_the_epoch_after(3, words, tmp_path / "killed", signal.SIGKILL)  # its second phase begins after two
    assert execute(words, tmp_path / "killed").returncode == 0
    files = [folder_in(tmp_path / name / "outputs") / "model.safetensors" for name in ("killed", "undisturbed")]
    ours, theirs = (load_file(file) for file in files)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_broken_image_fails_the_run_by_name_and_mended_the_same_command_finishes(
    tmp_path, command, execute, draw_squares
):
    draw_squares(tmp_path / "squares")
    words = [word for word in command("dataset=voc_folder", "dataset.root=squares") if "num_" not in word]
    broken = tmp_path / "squares" / "3.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60] + bytes(20) + whole[80:])  # begins and ends as it should
    failed = execute(words, tmp_path)
    assert failed.returncode == 1
    assert "squares/3.png: the image cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr
    record = RunRecord.read(folder_in(tmp_path / "outputs") / "record.json")
    assert record.status == "failed"
    assert record.error is not None
    assert "3.png" in record.error["message"]
    broken.write_bytes(whole)
    assert execute(words, tmp_path).returncode == 0
    assert RunRecord.read(folder_in(tmp_path / "outputs") / "record.json").status == "finished"


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path, command, execute):
    (tmp_path / "outputs").write_text("not a folder")
    result = execute(command(), tmp_path)
    assert result.returncode == 1
    assert "output_dir=outputs" in result.stderr
    assert "Traceback" not in result.stderr
