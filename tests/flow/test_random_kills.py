"""Thirty times killed, anywhere: the same command, given again until it ends, comes out as if nothing had happened.

This file is also the program that the tests start, once: it imports `headstart`, and forks a process for each run that
it is asked for, which then needs none of the seconds that importing takes. Such a process kills itself at a moment that
is named: after so many seconds; at its n-th file, half-way through it, before it has its name, or right after; after
its n-th optimizer step; or in its n-th batch of a validation.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord

SETTINGS = (
    "dataset.num_train=8",
    "dataset.num_val=2",
    "dataset.min_size=64",
    "dataset.max_size=96",
    "dataset.batch_size=2",
    "trainer.max_epochs=4",
)
EMA, WORKERS = "training.ema_decay=0.9", ("dataset.num_workers=2", "dataset.cache=none")
TWO = ("strategy.freeze_through=neck", "strategy.phases.everything.start=2")
STRATEGIES = {
    "gradual_unfreeze": ("strategy=gradual_unfreeze", EMA, *WORKERS),
    "lp_ft": ("strategy=lp_ft", "strategy.norm=train"),
    "l2_sp": ("strategy=l2_sp", *TWO, EMA, *WORKERS),
    "layer_decay": (
        "strategy=layer_decay",
        "strategy.gradual.first=1",
        "strategy.gradual.last=2",
        "strategy.freeze_through=neck",
    ),
    "wise_ft": ("strategy=wise_ft", *TWO, EMA, "training.early_stopping_patience=1"),
}
KINDS = {"seconds": "", "half": "file", "before": "file", "after": "file", "step": "step", "val": "val"}
"""The six kills of each strategy, in an order and at moments that are drawn -> what is counted for it."""
PATIENCE_SECONDS = 240


def serve() -> None:
    """For each line (folder, how, place, number, words of the command): the exit code, and what was counted."""
    import headstart.run  # noqa: F401

    for line in sys.stdin:
        folder, *rest = json.loads(line)
        if (pid := os.fork()) == 0:
            os.chdir(folder)
            told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(told, 1)
            os.dup2(told, 2)
            signal.alarm(PATIENCE_SECONDS)
            live(*rest)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def live(how: str, place: str, number: float, words: list[str]) -> None:
    from headstart.cli import main

    seen: Counter[str] = Counter()
    if how == "seconds":
        threading.Timer(number, kill_now).start()
    count(seen, lambda *places: place in places and seen[place] == number, how)
    code = 1
    try:
        main(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        Path("seen").write_text(json.dumps(seen))
        sys.stdout.flush()
        os._exit(code)


def kill_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count(seen: Counter[str], is_now, how: str) -> None:
    from headstart.training.module import DetectionModule

    replace, step, validate = Path.replace, DetectionModule.optimizer_step, DetectionModule.validation_step

    def counted_replace(self, target):
        places = ("file", Path(target).name)
        seen.update(places)
        if not is_now(*places):
            return replace(self, target)
        if how == "half":
            os.truncate(self, self.stat().st_size // 2)
        if how == "after":
            replace(self, target)
        return kill_now()

    def counted_step(self, *given, **named):
        step(self, *given, **named)
        seen.update(["step"])
        if is_now("step"):
            kill_now()

    def counted_validation(self, *given):
        seen.update(["val"])
        if is_now("val"):
            kill_now()
        return validate(self, *given)

    Path.replace = counted_replace  # type: ignore[method-assign]
    DetectionModule.optimizer_step = counted_step  # type: ignore[method-assign]
    DetectionModule.validation_step = counted_validation  # type: ignore[method-assign]


def folder_in(outputs: Path) -> Path:
    (path,) = outputs.glob("*/record.json")
    return path.parent


@pytest.fixture(scope="module")
def server():
    """Starts a process as `serve` is told, and gives its exit code."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def ask(*line) -> int:
        print(json.dumps(line), file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.wait(timeout=PATIENCE_SECONDS)


class Runner:
    """The command, started in `folder` to be killed as it is told."""

    def __init__(self, server, words: list[str], folder: Path) -> None:
        folder.mkdir()
        self.server, self.words, self.folder = server, words[words.index("train") :], folder

    def __call__(self, how: str = "", place: str = "", number: float = 0) -> bool:
        """Whether it came to its end."""
        code = self.server(str(self.folder), how, place, number, self.words)
        assert code in (0, -signal.SIGKILL), (self.folder / "told").read_text()
        return code == 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command, server):
    """`undisturbed(strategy)`: its command, folder, seconds and what it counted; each is trained once."""
    known = {}

    def of(strategy: str):
        if strategy not in known:
            words = command(*SETTINGS, *STRATEGIES[strategy])
            runner = Runner(server, words, tmp_path_factory.mktemp("undisturbed") / "run")
            started = time.monotonic()
            assert runner()
            seconds = time.monotonic() - started
            known[strategy] = words, runner.folder, seconds, json.loads((runner.folder / "seen").read_text())
        return known[strategy]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_six_kills_anywhere_leave_no_trace(tmp_path, server, undisturbed, strategy):
    words, expected, seconds, counted = undisturbed(strategy)
    draw = random.Random(strategy)
    left, chains = draw.sample(list(KINDS), len(KINDS)), []
    while left:
        chain, ended = Runner(server, words, tmp_path / f"killed-{len(chains)}"), False
        while left and not ended:
            how, place = left[-1], KINDS[left[-1]]
            number = draw.randint(1, counted[place]) if place else draw.uniform(0.1, 1.0) * seconds
            ended = chain(how, place, number)
            print(f"{strategy}: {how} {number:.1f}, of {seconds:.0f} s, {counted}: {'ended' if ended else 'killed'}")
            left = left if ended else left[:-1]
        assert ended or chain()
        chains.append(chain)
    for chain in chains:
        check_equal(folder_in(chain.folder / "outputs"), folder_in(expected / "outputs"))


PLACES = {
    "after the last step of an epoch, before its checkpoint": ("", "step", 8),
    "in a validation": ("", "val", 3),
    "in the export": ("half", "model.safetensors", 1),
    "between the export and the record": ("after", "model.json", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("where", PLACES)
def test_a_kill_where_it_hurts_leaves_no_trace(tmp_path, server, undisturbed, where):
    """Several phases, EMA, two workers."""
    words, expected, _, _ = undisturbed("gradual_unfreeze")
    runner = Runner(server, words, tmp_path / "killed")
    assert not runner(*PLACES[where])
    assert RunRecord.read(folder_in(runner.folder / "outputs") / "record.json").status == "interrupted"
    assert runner()
    check_equal(folder_in(runner.folder / "outputs"), folder_in(expected / "outputs"))


@pytest.mark.slow
def test_a_last_checkpoint_that_cannot_be_read_costs_the_epochs_since_the_best(tmp_path, server, undisturbed):
    words, expected, _, _ = undisturbed("gradual_unfreeze")
    runner = Runner(server, words, tmp_path / "killed")
    assert not runner("", "step", 14)  # in the fourth epoch
    last = folder_in(runner.folder / "outputs") / "checkpoints" / "last.ckpt"
    os.truncate(last, last.stat().st_size // 2)
    assert runner()
    assert "The run goes on from" in (runner.folder / "told").read_text()
    check_equal(folder_in(runner.folder / "outputs"), folder_in(expected / "outputs"))


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
    serve()
