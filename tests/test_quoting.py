"""What is typed as a path arrives as that path, whatever Hydra's grammar makes of its characters."""

import os
import subprocess
import sys

import hydra
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from headstart.conf_path import conf_dir
from headstart.config.resolve import register, typed
from headstart.config.restore import restore
from headstart.config.schema import CompareConfig, EvaluateConfig, RunConfig, VocConfig
from headstart.errors import UserError
from headstart.quoting import escaped, quoted, text_keys, written_out
from headstart.study.command import Command

HOSTILE = (
    "archive (1)",
    "données",
    "a=b, c & d",
    "epoch=3-step=40.ckpt",
    "[photos]",
    "{a}",
    "a#b",
    "it's",
    'say "no"',
    "'quoted'",
    "$HOME",
    "~data",
    "back\\",
    "C:\\data\\new",
    "a\\'b",
    "a\\\\'",
    "photos,more",
    "${data_dir}",
    "\\${data_dir}",
    "2007",
    "1e3",
    "true",
    "choice(a,b)",
    "str(1)",
    "glob(*)",
    " blank ",
    "日本",
    "a\\=b",
    "a;b!c%d|e?*:@^`",
)


def as_run(*words: str) -> RunConfig:
    return as_read("train", RunConfig, "dataset=voc_folder", "dataset.root=x", *words)


def as_read(verb, schema, *words):
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return typed(hydra.compose(verb, written_out(verb, list(words))), schema)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_that_is_there_is_read_by_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert as_run(f"dataset.root={name}").dataset.root == name
    assert as_run("source=checkpoint", f"++source.path={name}").source.path == name
    assert as_read("evaluate", EvaluateConfig, f"run={name}").run == name
    assert as_read("compare", CompareConfig, name).folder == name
    assert as_read("compare", CompareConfig, "outputs", f"report_dir={name}").report_dir == name


NEW = (
    "archive (1)",
    "données",
    "a=b, c",
    "[photos]",
    "{a}",
    "a#b",
    "it's",
    "$HOME",
    "C:\\new\\",
    "2007",
    "1e3",
    "true",
)


@pytest.mark.parametrize("name", NEW)
def test_a_folder_that_is_not_there_yet_has_the_name_that_was_typed(name):
    assert as_run(f"output_dir={name}").output_dir == name


@pytest.mark.parametrize("name", ["epoch=3-step=40.json", "train (1).json", "a,b.json"])
def test_a_file_of_the_data_set_is_found_below_its_root(tmp_path, name):
    (tmp_path / name).touch()
    config = as_read(
        "train", RunConfig, "dataset=coco_folder", f"dataset.root={tmp_path}", f"dataset.train_json={name}"
    )
    assert config.dataset.train_json == name


def test_hydras_own_grammar_still_means_what_it_meant(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for word, meant in {
        "output_dir='a,b'": "a,b",
        'output_dir="it\'s"': "it's",
        "output_dir=${data_dir}/x": "elsewhere/x",
        "output_dir=str(1)": "1",
        "output_dir=a\\=b": "a=b",
        "output_dir=plain/path-1.0": "plain/path-1.0",
    }.items():
        assert as_run("data_dir=elsewhere", word).output_dir == meant
    assert as_run("dataset.train_split=null").dataset.train_split is None


def test_only_texts_are_quoted():
    words = [
        "dataset.fraction=0.5",
        "trainer.max_epochs=3",
        "dataset.class_names=[a,b]",
        "strategy=full",
        "--cfg",
        "job",
    ]
    assert written_out("train", words) == words
    keys = text_keys("train")
    assert {"dataset.root", "source.path", "output_dir", "data_dir", "dataset.train_json", "study.sources_dir"} <= keys
    assert not {"dataset.fraction", "dataset.class_names", "logger.log_images", "strategy"} & keys


@pytest.mark.parametrize("key", ["dataset.root", "source.dataset.root", "source.source.dataset.root"])
def test_the_texts_of_a_source_that_is_a_run_are_texts_too(key):
    assert written_out("train", [f"{key}=archive (1)"]) == [f"{key}='archive (1)'"]


def test_with_m_a_comma_separates_and_the_message_shows_what_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert written_out("train", ["-m", "dataset.root=a,b"]) == ["-m", "dataset.root=a,b"]
    assert written_out("train", ["-m", "dataset.root=archive (1)"])[1] == "dataset.root='archive (1)'"
    with pytest.raises(UserError) as refused:
        written_out("train", ["-m", "dataset.root=a=b, c & d"])
    assert "\"dataset.root='a=b, c & d'\"" in str(refused.value)
    (tmp_path / "a,b").mkdir()
    with pytest.raises(UserError, match="with -m a comma separates"):
        written_out("train", ["-m", "dataset.root=a,b"])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cell_of_a_study_hands_its_path_on(tmp_path, monkeypatch, name):
    """Typed, read by Hydra's sweeper, started as a process of its own, read again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    word = f"dataset.root={quoted(escaped(name))}"
    (word,) = written_out("train", ["-m", word])[1:]
    overrides = OverridesParser.create().parse_overrides([word, "seed=0,1"])
    cells = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    passed_on = Command(tuple(cells[0])).words()[4:]
    assert as_run(*passed_on).dataset.root == name


texts = st.text(st.sampled_from("ab1=,()[]{}\\'\" #&$~:é日%!@^`|;?*.-+") | st.characters(codec="utf-8"), min_size=1)


@given(texts.filter(lambda text: text.strip() and "\0" not in text and len(text.encode()) < 200))
@settings(max_examples=400, deadline=None)
def test_any_text_in_quotes_is_read_as_it_is(text):
    override = OverridesParser.create().parse_override(f"dataset.root={quoted(escaped(text))}")
    assert OmegaConf.create({"value": override.value()}).value == text


@given(texts.filter(lambda text: text != "null" and "\0" not in text and "/" not in text and len(text.encode()) < 200))
@settings(max_examples=200, deadline=None)
def test_any_name_that_is_there_is_read_as_it_is(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp() / "any"
    root.mkdir(exist_ok=True)
    if text not in (".", ".."):
        (root / text).mkdir(exist_ok=True)
    path = f"{root}/{text}"
    (word,) = written_out("train", [f"dataset.root={path}"])
    override = OverridesParser.create().parse_override(word)
    assert not override.is_sweep_override()
    assert str(OmegaConf.create({"value": override.value()}).value) == path


def test_a_recorded_path_is_restored_as_it_is():
    name = "a ${data_dir} \\${b}"
    assert restore("dataset", {"name": "x", "root": name, "one_based": True}) == VocConfig(
        "x", root=name, one_based=True
    )


SAID = {
    "dataset.root=a,b": "\"dataset.root='a,b'\"",
    "logger.wandb.tags=[a (1)": "\"logger.wandb.tags=['a (1)']\"",
    "output_dir=${nothing}/a": "write \\${…}",
}


@pytest.mark.parametrize("word", SAID)
def test_what_hydra_cannot_read_is_answered_with_the_quoted_form(tmp_path, word):
    command = [sys.executable, "-m", "headstart", "train", "dataset=voc_folder", word]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert SAID[word] in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_line_reads_a_hostile_root(tmp_path):
    name = "a=b, c & d (1) é"
    (tmp_path / name).mkdir()
    command = [sys.executable, "-m", "headstart", "train", "dataset=voc_folder", f"dataset.root={name}", "--cfg", "job"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 0, result.stderr
    assert f"  root: {name}" in result.stdout


def test_several_runs_are_one_word(tmp_path, monkeypatch):
    """Which Hydra would take for a sweep."""
    monkeypatch.chdir(tmp_path)
    assert as_read("evaluate", EvaluateConfig, "run=outputs/a,outputs/b").run == "outputs/a,outputs/b"
