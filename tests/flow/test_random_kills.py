"""Thirty times killed, anywhere: the same command, given again until it ends, comes out as if nothing had happened.

This file is also the program that the tests start: `headstart`, which kills itself at a moment that is named: after
so many seconds, or at its n-th file, half-way through it, before it has its name, or right after.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord

KILLS = 6
SETTINGS = (
    "dataset.num_train=8",
    "dataset.num_val=2",
    "dataset.min_size=64",
    "dataset.max_size=96",
    "dataset.batch_size=2",
    "trainer.max_epochs=4",
)
EMA, WORKERS = "training.ema_decay=0.9", "dataset.num_workers=2"
TWO = ("strategy.freeze_through=neck", "strategy.phases.everything.start=2")
STRATEGIES = {
    "gradual_unfreeze": ("strategy=gradual_unfreeze", EMA, WORKERS),
    "lp_ft": ("strategy=lp_ft", "strategy.norm=train"),
    "l2_sp": ("strategy=l2_sp", *TWO, EMA, WORKERS),
    "layer_decay": (
        "strategy=layer_decay",
        "strategy.gradual.first=1",
        "strategy.gradual.last=2",
        "strategy.freeze_through=neck",
    ),
    "wise_ft": ("strategy=wise_ft", *TWO, EMA, "training.early_stopping_patience=1"),
}


def main(how: str, number: str, *arguments: str) -> None:
    if how == "seconds":
        threading.Timer(float(number), kill_now).start()
    else:
        kill_at_file(int(number), how)
    from headstart.cli import main as headstart

    try:
        headstart(list(arguments))
    finally:
        Path("files").write_text(str(max(0, at_file.seen)))
        os._exit(0 if sys.exc_info()[1] is None or getattr(sys.exc_info()[1], "code", 1) == 0 else 1)


def kill_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class at_file:
    seen = 0


def kill_at_file(number: int, how: str) -> None:
    replace = Path.replace

    def dying(self, target):
        at_file.seen += 1
        if at_file.seen != number:
            return replace(self, target)
        if how == "half":
            os.truncate(self, self.stat().st_size // 2)
        if how == "after":
            replace(self, target)
        return kill_now()

    Path.replace = dying  # type: ignore[method-assign]


def folder_in(outputs: Path) -> Path:
    (path,) = outputs.glob("*/record.json")
    return path.parent


class Runner:
    """The command, started in `folder` to be killed as it is told."""

    def __init__(self, words: list[str], folder: Path) -> None:
        folder.mkdir()
        self.words, self.folder = words[words.index("train") :], folder

    def __call__(self, how: str = "half", number: float = 0) -> bool:
        """Whether it came to its end."""
        result = subprocess.run(
            [sys.executable, __file__, how, str(number), *self.words],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode in (0, -signal.SIGKILL), result.stdout + result.stderr
        return result.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_six_kills_anywhere_leave_no_trace(tmp_path, command, strategy):
    words = command(*SETTINGS, *STRATEGIES[strategy])
    undisturbed = Runner(words, tmp_path / "undisturbed")
    started = time.monotonic()
    assert undisturbed()
    seconds = time.monotonic() - started
    files = int((tmp_path / "undisturbed" / "files").read_text())
    draw, killed, chains = random.Random(strategy), 0, []
    while killed < KILLS or not chains:
        runner = Runner(words, tmp_path / f"killed-{len(chains)}")
        ended = False
        while not ended and killed < KILLS:
            how = draw.choice(["seconds", "half", "before", "after"])
            number = draw.uniform(0.3, 1.0) * seconds if how == "seconds" else draw.randint(3, max(3, files))
            ended = runner(how, number)
            killed += not ended
            print(f"{strategy}: {how} {number:.1f} of {seconds:.0f} s, {files} files: {'ended' if ended else 'killed'}")
        assert ended or runner()
        chains.append(runner.folder)
    for folder in chains:
        check_equal(folder_in(folder / "outputs"), folder_in(tmp_path / "undisturbed" / "outputs"))


def check_equal(found: Path, expected: Path) -> None:
    ours, theirs = load_file(found / "model.safetensors"), load_file(expected / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    one, other = RunRecord.read(found / "record.json"), RunRecord.read(expected / "record.json")
    assert one.status == "finished"
    assert one.metrics == other.metrics
    assert one.plan == other.plan
    epochs = [row["epoch"] for row in one.metrics["history"]]
    assert epochs == list(range(epochs[-1] + 1))
    with (found / "history.csv").open() as ours_csv, (expected / "history.csv").open() as theirs_csv:
        assert list(csv.reader(ours_csv)) == list(csv.reader(theirs_csv))
    assert one.cost["wall_seconds"] > 0
    left = [path.name for path in found.rglob("*") if path.is_file() and path.name.startswith(".")]
    assert left == []


if __name__ == "__main__":
    main(*sys.argv[1:])
