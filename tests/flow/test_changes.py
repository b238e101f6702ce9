"""A run knows its data and its source: what it was trained on is what is there, or it says so."""

import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from headstart import cli
from headstart.errors import UserError
from headstart.records.record import RunRecord

SQUARE = (
    "<object><name>{name}</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object>"
)
SMALL = ("min_size=96", "max_size=128", "batch_size=4", "num_workers=0")
QUICK = ("strategy=head_only", "training.evaluate_untrained=false", "trainer.max_epochs=1", "training.keep=all")


def words(root: Path, *overrides: str) -> list[str]:
    size = [f"dataset.{setting}" for setting in SMALL]
    trainer = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false"]
    return ["dataset=voc_folder", f"dataset.root={root}", *size, *QUICK, *trainer, "logger=csv", *overrides]


def run(root: Path, *overrides: str) -> tuple[Path, RunRecord]:
    from headstart.config.compose import compose
    from headstart.run import run

    outputs = root.parent / "outputs"
    run(compose([*words(root, *overrides), f"output_dir={outputs}"]))
    (path,) = outputs.glob("*/record.json")
    return path.parent, RunRecord.read(path)


def add_label(root: Path, name: str = "square") -> None:
    """A second object on every picture."""
    for path in root.glob("*.xml"):
        path.write_text(path.read_text().replace("</annotation>", SQUARE.format(name=name) + "</annotation>"))


def interrupt(folder: Path) -> None:
    """As if it had been killed after its last epoch."""
    record = RunRecord.read(folder / "record.json")
    record.status = "interrupted"
    record.write(folder / "record.json")


def test_corrected_labels_are_noticed_by_the_same_command_and_both_choices_hold(tmp_path, draw_squares, capsys):
    draw_squares(tmp_path / "squares")
    folder, first = run(tmp_path / "squares")
    assert run(tmp_path / "squares")[1] == first
    assert "Already finished" in capsys.readouterr().out
    add_label(tmp_path / "squares")
    with pytest.raises(UserError, match=r"train has 1\d boxes instead of 5; val has 2 boxes instead of 1") as raised:
        run(tmp_path / "squares")
    assert "on_change=restart" in str(raised.value)
    assert run(tmp_path / "squares", "on_change=keep")[1] == first
    _, again = run(tmp_path / "squares", "on_change=restart")
    assert sum(again.dataset["num_boxes"]["val"].values()) == 2
    assert [RunRecord.read(path) for path in folder.parent.glob(".replaced/*/record.json")] == [first]


def test_an_interrupted_run_never_goes_on_with_other_labels_or_classes(tmp_path, draw_squares, capsys):
    draw_squares(tmp_path / "squares")
    folder, _ = run(tmp_path / "squares")
    interrupt(folder)
    run(tmp_path / "squares")
    assert "Going on after the last complete epoch" in capsys.readouterr().out
    interrupt(folder)
    add_label(tmp_path / "squares", "circle")
    with pytest.raises(UserError, match=r"the classes are others \(new: circle\).*a run that goes on would mix"):
        run(tmp_path / "squares")
    _, again = run(tmp_path / "squares", "on_change=restart")
    assert again.dataset["class_names"] == ["circle", "square"]
    assert again.status == "finished"


def test_a_source_that_was_trained_again_is_noticed(tmp_path, draw_squares):
    draw_squares(tmp_path / "squares")
    folder, _ = run(tmp_path / "squares")
    source = folder.rename(tmp_path / "source")
    from_it = ("source=checkpoint", f"source.path={source}")
    run(tmp_path / "squares", *from_it)
    weights = load_file(source / "model.safetensors")
    save_file(weights, source / "model.safetensors")  # the same, at another time
    run(tmp_path / "squares", *from_it)
    first = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    save_file(weights | {first: weights[first] + 1}, source / "model.safetensors")
    with pytest.raises(UserError, match="the source checkpoint has other weights"):
        run(tmp_path / "squares", *from_it)


def test_a_checkpoint_that_cannot_be_read_is_no_dead_end(tmp_path, draw_squares):
    draw_squares(tmp_path / "squares")
    folder, _ = run(tmp_path / "squares")
    interrupt(folder)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"cut off")
    assert run(tmp_path / "squares")[1].status == "finished"
    (kept,) = (folder / "checkpoints").glob("last.unreadable-*.ckpt")
    assert kept.read_bytes() == b"cut off"


@pytest.mark.slow
def test_a_study_says_which_cell_has_changed_and_restart_does_that_one_again(
    tmp_path, draw_squares, monkeypatch, capsys
):
    draw_squares(tmp_path / "squares")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["headstart"])

    def study(*overrides: str) -> str:
        cli.main(["train", "-m", *words(tmp_path / "squares", "strategy=head_only,norm_only", *overrides)])
        return capsys.readouterr().out

    study()
    assert len(re.findall("was finished", study())) == 2
    add_label(tmp_path / "squares")
    with pytest.raises(SystemExit):
        study()
    out = capsys.readouterr().out
    assert "2 failed\n" in out
    assert re.search(r"val has 2 boxes instead of 1\. on_change=restart sets it aside", out)
    assert "2 finished" in study("on_change=restart")
    assert len(re.findall("was finished", study())) == 2
