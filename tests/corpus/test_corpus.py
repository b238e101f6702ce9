"""Each broken data set through `headstart doctor` and `headstart train`: the documented result, and no traceback."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart import cli
from headstart.config.kinds import KINDS
from tests.corpus.cases import CASES, FINISHED, REFUSED, Case

SMALL = [
    "dataset.min_size=64",
    "dataset.max_size=96",
    "dataset.batch_size=4",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "logger=csv",
    "source=scratch",
]
DOCTORS = {"undecodable_image", "near_equal", "class_not_in_train", "refused"}
"""Kinds that training does not count: it decodes nothing at its start, and tells gaps among the classes in a table."""
IN_BRIEF = {
    "voc-truncated_xml",
    "voc-all_difficult",
    "voc-zip_file",
    "coco-three_numbers",
    "coco-truncated_json",
    "coco-climbing_path",
    "yolo-index_too_large",
    "yolo-broken_yaml",
    "yolo-unlabelled_val",
}
"""Those of the refused that the default run sends through `train` as well: one of each way to be refused."""

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """(exit code, all that was printed or warned of) of a verb on a case."""

    def headstart(verb: str, case: Case, *settings: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["headstart"])
        monkeypatch.setenv("COLUMNS", "100")
        case.draw(tmp_path / "data")
        code: Any = 0
        try:
            cli.main([verb, f"dataset={case.format}_folder", f"dataset.root={tmp_path / 'data'}", *settings])
        except SystemExit as stopped:
            code = stopped.code or 0
        printed = "".join(capsys.readouterr()) + caplog.text
        assert "Traceback" not in printed
        assert not (tmp_path / "data" / "ran").exists(), "a file of the data was executed"
        return int(code), printed

    return headstart


def _doctor_cases() -> Iterator[Any]:
    """All of them in the slow run, every third in the usual one."""
    for number, case in enumerate(CASES):
        yield pytest.param(case, marks=[pytest.mark.slow] if number % 3 else [], id=case.name)


@pytest.mark.parametrize("case", _doctor_cases())
def test_the_doctor_finds_what_is_wrong_and_nothing_else(case: Case, run: Run, tmp_path: Path) -> None:
    code, printed = run("doctor", case, f"out={tmp_path / 'out'}")
    report = json.loads((tmp_path / "out" / "doctor.json").read_text())
    found = {finding["kind"]: finding["count"] for finding in report["findings"]}
    assert found == dict(case.kinds)
    assert code == case.exit_code
    assert all(word in printed for word in case.says), printed


def _train_cases() -> list[Any]:
    return [
        pytest.param(case, id=case.name, marks=() if case.name in IN_BRIEF else pytest.mark.slow)
        for case in CASES
        if case.train == REFUSED
    ]


@pytest.mark.parametrize("case", _train_cases())
def test_what_cannot_be_learnt_from_is_refused(case: Case, run: Run, tmp_path: Path) -> None:
    code, printed = run("train", case, *SMALL, f"output_dir={tmp_path / 'runs'}")
    assert code == 1
    assert all(word in printed for word in case.says), printed
    assert not [*tmp_path.rglob("model.safetensors")]


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.train == FINISHED], ids=lambda case: case.name)
def test_what_can_be_mended_is_and_the_record_counts_it(case: Case, run: Run, tmp_path: Path) -> None:
    code, printed = run("train", case, *SMALL, f"output_dir={tmp_path / 'runs'}")
    assert code == 0, printed
    assert all(word in printed for word in case.says), printed
    (path,) = tmp_path.rglob("record.json")
    dataset = json.loads(path.read_text())["dataset"]
    counted = {kind: count for kind, count in case.kinds.items() if kind in KINDS and kind not in DOCTORS}
    assert dataset["defects"] == counted
    assert {kind: sum(done.values()) for kind, done in dataset["defect_actions"].items()} == counted
