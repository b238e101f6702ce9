"""A loss that is no number, a full disk, outputs that are read-only, a clock that goes back: told, and gone on with.

This file is also the program that the tests start: `headstart` in which one of these happens at a moment that is named.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord
from headstart.training.checkpoints import why_unreadable

SETTINGS = ("dataset.num_train=8", "dataset.num_val=2", "dataset.batch_size=2", "training.evaluate_untrained=false")
TWO = ("trainer.strategy=ddp", "trainer.devices=2")


def main(what: str, *arguments: str) -> None:
    from headstart import run
    from headstart.cli import main as headstart
    from headstart.runs import attempt
    from headstart.training.frozen import DirectIO
    from headstart.training.history import History
    from headstart.training.module import DetectionModule

    if what == "nan":
        losses = DetectionModule._losses

        def failing(self, batch):
            found = losses(self, batch)
            bad = self.current_epoch == 1 and 5 in [target.image_id for target in batch.targets]
            return {name: value * float("nan") if bad else value for name, value in found.items()}

        DetectionModule._losses = failing  # type: ignore[method-assign]
    if what == "clock":
        began, wall = time.time(), time.time
        time.time = lambda: 2 * began - wall()  # type: ignore[assignment]
    if what == "checkpoint":
        full_at(DirectIO, "save_checkpoint", 2, 1 << 20)
    if what == "read-only":
        before(DirectIO, "save_checkpoint", 2, make_read_only)
    if what == "history":
        full_at(History, "_write", 2)
    if what == "export":
        full_at(run, "save_exported", 1, 1 << 20)
    if what == "end":
        full_at(attempt, "write_end", 1)
    if what == "record":
        full_at(RunRecord, "write", 3)
    headstart(list(arguments))


def full_at(owner, name: str, call: int, left: int = 0) -> None:
    """Before it is called for the `call`-th time the disk of `outputs` is filled, up to so many bytes."""
    before(owner, name, call, lambda: fill(Path("outputs/filler"), left))


def before(owner, name: str, call: int, happens) -> None:
    original, seen = getattr(owner, name), []

    def calling(*values, **named):
        seen.append(name)
        if len(seen) == call:
            happens()
        return original(*values, **named)

    setattr(owner, name, calling)


def make_read_only() -> None:
    """The run's folder, by a mount over it: that below has files open."""
    folder = folder_in(Path("outputs"))
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


def fill(path: Path, left: int) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            file.truncate(max(0, file.tell() - left))


def folder_in(outputs: Path) -> Path:
    (path,) = outputs.glob("*/record.json")
    return path.parent


@pytest.fixture
def start(tmp_path, command):
    """`start(what, *overrides, within="…")`: `within` is shell, `"$@"` the command."""

    def call(what, *overrides, within='"$@"'):
        drawn = not any(word.startswith("dataset=") for word in overrides)
        words = [word for word in command(*SETTINGS, *overrides) if drawn or "dataset.num_" not in word]
        words = [sys.executable, __file__, what, *words[words.index("train") :]]
        return subprocess.run(
            ["bash", "-c", within, "bash", *words],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


MODELS = {
    "retinanet": (),
    "ssdlite": ("model=ssdlite", "backbone=mobilenet_v3_large", "source=scratch"),
}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_a_loss_that_is_no_number_is_told_with_its_pictures_and_the_last_epoch_is_kept(
    tmp_path, start, undisturbed, model, processes
):
    settings = (*MODELS[model], "strategy=full", *(TWO if processes == 2 else ()))
    result = start("nan", *settings)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    folder = folder_in(tmp_path / "outputs")
    record = RunRecord.read(folder / "record.json")
    assert record.status == "failed"
    message = record.error["message"]
    assert message in result.stderr
    assert message.startswith("The loss is not finite in epoch 2, batch ")
    assert "nan" in message
    assert "learning rate" in message
    pictures = message.split("Its pictures: ")[1].splitlines()[0].split(", ")
    assert len(pictures) == 2
    assert ("process " in message) == (processes == 2)
    assert f"kept in {folder.relative_to(tmp_path) / 'checkpoints' / 'last.ckpt'}" in message.replace(
        f"{tmp_path}/", ""
    )
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 0
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values() if tensor.is_floating_point())
    assert start("nothing", *settings).returncode == 0
    if (model, processes) == ("retinanet", 1):
        check_equal(folder, undisturbed)


def check_equal(found: Path, expected: Path) -> None:
    ours, theirs = load_file(found / "model.safetensors"), load_file(expected / "model.safetensors")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert RunRecord.read(found / "record.json").status == "finished"


def mount_or_skip() -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no right to mount a file system")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command, execute):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = execute(command(*SETTINGS), folder)
    assert result.returncode == 0, result.stderr
    return folder_in(folder / "outputs")


FULL = {
    "checkpoint": ("last.ckpt", "failed"),
    "history": ("history.csv", "failed"),
    "export": ("model.safetensors", "failed"),
    "record": ("record.json", "interrupted"),  # what it said before
    "end": (None, "finished"),  # there is room for the record
    "read-only": ("last.ckpt", "interrupted"),
}
"""What cannot be written, or is when nothing can be any more -> its name, and what the record says."""


@pytest.mark.slow
@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_is_told_with_the_file_and_given_room_the_same_command_goes_on(tmp_path, start, undisturbed, what):
    mount_or_skip()
    (tmp_path / "outputs").mkdir()
    within = (
        'mount -t tmpfs -o size=900m tmpfs outputs; "$@"; echo code $? >&2; '
        "umount outputs/shapes*; rm -f outputs/filler; cp -r outputs full; "
        '"$1" "$2" nothing "${@:4}"; echo then $? >&2; cp -r outputs done; umount outputs'
    )
    result = start(what, within=f"exec unshare -m bash -c '{within}' bash \"$@\"")
    print(result.stdout, result.stderr)
    file, status = FULL[what]
    left = RunRecord.read(folder_in(tmp_path / "full") / "record.json")
    assert left.status == status
    assert f"code {int(file is not None)}" in result.stderr
    if file is not None:
        reason = "Read-only file system" if what == "read-only" else "No space left on device"
        assert f"{file} cannot be written: {reason}" in result.stderr
        assert "MB are free there now" in result.stderr
    if status == "failed":
        assert left.error["message"] in result.stderr
    assert "Traceback" not in result.stderr
    assert [path for path in (tmp_path / "full").rglob("*.ckpt") if why_unreadable(path)] == []
    assert "then 0" in result.stderr
    check_equal(folder_in(tmp_path / "done"), undisturbed)


@pytest.mark.slow
def test_outputs_that_cannot_be_written_are_refused_with_their_name_before_training(tmp_path, start):
    mount_or_skip()
    (tmp_path / "outputs").mkdir()
    result = start("nothing", within='exec unshare -m bash -c \'mount -t tmpfs -o ro tmpfs outputs; "$@"\' bash "$@"')
    assert result.returncode == 1
    assert "output_dir=outputs: " in result.stderr
    assert "Read-only file system" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""  # not even what was found in the data


@pytest.mark.slow
def test_the_data_may_be_read_only(tmp_path, start, draw_squares):
    mount_or_skip()
    draw_squares(tmp_path / "squares")
    within = 'mount --bind squares squares; mount -o remount,bind,ro squares; ! touch squares/a && "$@"'
    settings = ("dataset=voc_folder", "dataset.root=squares", "trainer.max_epochs=1")
    result = start("nothing", *settings, within=f"exec unshare -m bash -c '{within}' bash \"$@\"")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_clock_that_goes_back_costs_nothing_and_changes_nothing(tmp_path, start, undisturbed):
    result = start("clock")
    assert result.returncode == 0, result.stderr
    record = RunRecord.read(folder_in(tmp_path / "outputs") / "record.json")
    costs = [record.cost[name] for name in ("wall_seconds", "cpu_seconds", "train_images_per_second")]
    assert min(costs) > 0
    assert record.metrics == RunRecord.read(undisturbed / "record.json").metrics


if __name__ == "__main__":
    main(*sys.argv[1:])
