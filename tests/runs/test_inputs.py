"""Whether a file has changed is known by its size and its time; what cannot be known is not taken for the same."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.config.compose import compose
from headstart.config.schema import RunConfig
from headstart.runs import inputs
from headstart.runs.pretrained import folder_of, source_run


@pytest.fixture
def photos(tmp_path) -> Path:
    root = tmp_path / "photos"
    (root / "labels").mkdir(parents=True)
    for name in ("a.jpg", "labels/a.xml", "labels/b.xml"):
        (root / name).write_text(name)
    return root


def on(photos: Path, *overrides: str) -> RunConfig:
    return compose(["dataset=voc_folder", f"dataset.root={photos}", *overrides])


def begun(config: RunConfig, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    inputs.write_inputs(folder, inputs.input_stamp(config))
    return folder


def changed(photos: Path, what: str) -> None:
    if what == "corrected":  # as many bytes
        (photos / "labels" / "a.xml").write_text("labels/A.xml")
        os.utime(photos / "labels" / "a.xml", ns=(1, 1))
    elif what == "added":
        (photos / "labels" / "c.xml").write_text("c")
    elif what == "removed":
        (photos / "labels" / "b.xml").unlink()
    elif what == "renamed":
        (photos / "labels" / "b.xml").rename(photos / "labels" / "c.xml")
    elif what == "longer":
        times = (photos / "labels" / "b.xml").stat().st_mtime_ns
        (photos / "labels" / "b.xml").write_text("longer than before")
        os.utime(photos / "labels" / "b.xml", ns=(times, times))


@pytest.mark.parametrize("what", ["corrected", "added", "removed", "renamed", "longer"])
def test_every_change_of_a_file_is_seen(photos, tmp_path, what):
    config = on(photos)
    run = begun(config, tmp_path / "run")
    assert inputs.same_inputs(config, run)
    changed(photos, what)
    assert not inputs.same_inputs(config, run)


def test_a_moved_folder_is_the_same_and_a_run_that_was_never_looked_at_is_not(photos, tmp_path):
    run = begun(on(photos), tmp_path / "run")
    assert inputs.same_inputs(on(photos.rename(tmp_path / "moved")), run)
    (run / "inputs.json").unlink()
    assert not inputs.same_inputs(on(tmp_path / "moved"), run)
    (run / "inputs.json").write_text("{")
    assert not inputs.same_inputs(on(tmp_path / "moved"), run)


def test_what_a_link_leads_to_is_looked_at_and_one_that_leads_back_ends(photos, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d.xml").write_text("d")
    (photos / "linked").symlink_to(outside)
    (photos / "labels" / "round").symlink_to(photos / "labels")
    run = begun(on(photos), tmp_path / "run")
    assert inputs.same_inputs(on(photos), run)
    (outside / "d.xml").write_text("other")
    assert not inputs.same_inputs(on(photos), run)


def test_an_annotation_file_outside_of_the_folder_is_looked_at(photos, tmp_path):
    (tmp_path / "train.json").write_text("1")
    config = compose(["dataset=coco_folder", f"dataset.root={photos}", "dataset.train_json=../train.json"])
    run = begun(config, tmp_path / "run")
    assert inputs.same_inputs(config, run)
    (tmp_path / "train.json").write_text("22")
    assert not inputs.same_inputs(config, run)


def test_a_folder_of_images_outside_of_the_folder_is_looked_at(photos, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_text("1")
    words = ["dataset=coco_folder", f"dataset.root={photos}", "dataset.train_json=a.json"]
    config = compose([*words, "dataset.train_images=../pictures"])
    (photos / "a.json").write_text("1")
    run = begun(config, tmp_path / "run")
    assert inputs.same_inputs(config, run)
    (tmp_path / "pictures" / "a.png").write_text("22")
    assert not inputs.same_inputs(config, run)


def test_too_many_files_are_never_taken_for_the_same(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_FILES", 2)
    assert not inputs.same_inputs(on(photos), begun(on(photos), tmp_path / "run"))


@pytest.mark.parametrize("name", ["", "/model.safetensors", "/model.json"])
def test_a_source_that_was_trained_again_is_seen(tmp_path, name):
    source = tmp_path / "source"
    source.mkdir()
    for file in ("model.safetensors", "model.json", "record.json"):
        (source / file).write_text(file)
    config = compose(["source=checkpoint", f"source.path={source}{name}"])
    run = begun(config, tmp_path / "run")
    (source / "record.json").write_text("says more")
    assert inputs.same_inputs(config, run)
    (source / "model.safetensors").write_text("other weights")
    assert not inputs.same_inputs(config, run)


def test_a_pretrained_source_is_known_by_the_model_of_its_run(tmp_path):
    config = compose(["source=pretrained", f"output_dir={tmp_path}"])
    source = source_run(config)
    assert source is not None
    folder_of(source).mkdir(parents=True)
    (folder_of(source) / "model.safetensors").write_text("weights")
    run = begun(config, tmp_path / "run")
    assert inputs.same_inputs(config, run)
    (folder_of(source) / "model.safetensors").write_text("other weights")
    assert not inputs.same_inputs(config, run)


def test_drawn_data_and_a_librarys_weights_have_no_files_to_look_at(tmp_path):
    assert inputs.same_inputs(compose([]), tmp_path)


def test_a_look_is_shared_by_those_who_ask_for_the_same_folder(photos, tmp_path):
    asked = []
    run = begun(on(photos), tmp_path / "run")

    def tree(root: str) -> str:
        asked.append(root)
        return inputs.tree_stamp(root)

    assert inputs.same_inputs(on(photos), run, tree)
    assert asked == [str(photos)]


def test_why_a_finished_run_was_refused_is_forgotten_when_it_stands_again(photos, tmp_path):
    run = begun(on(photos), tmp_path / "run")
    inputs.write_refusal(run, "train has 2 images")
    assert inputs.read_refusal(run) == "train has 2 images"
    assert inputs.same_inputs(on(photos), run)
    assert inputs.read_refusal(begun(replace(on(photos), seed=1), run)) is None
