"""What the command line answers, before anything heavy is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from headstart import __version__, cli
from headstart.conf_path import conf_dir
from headstart.config.schemas import SCHEMAS


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = 0
    try:
        cli.main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0)])
def test_usage_names_the_verbs(capsys, arguments, code):
    found, out, _ = answer(capsys, *arguments)
    assert found == code
    assert all(verb in out for verb in cli.VERBS)


def test_version(capsys):
    assert answer(capsys, "--version") == (0, f"headstart {__version__}\n", "")


def test_an_unknown_verb_is_refused_with_the_nearest(capsys):
    code, _, err = answer(capsys, "trian")
    assert code == 2
    assert "no verb 'trian'" in err
    assert "Did you mean 'train'?" in err


def test_help_explains_every_group_and_every_choice_with_its_own_words(capsys):
    code, out, _ = answer(capsys, "train", "--help")
    assert code == 0
    flat = " ".join(out.split())
    for path in conf_dir().glob("*/*.yaml"):
        first = next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))
        assert f" {path.stem} {first.lstrip('# ').split('. ')[0].rstrip('.:')[:40]}" in flat, path
    assert "schema_" not in out
    assert "headstart train -m source=scratch,imagenet" in out


@pytest.mark.parametrize("group", [*SCHEMAS, "logger", "monitor", "training", "evaluation"])
def test_help_of_a_group_has_its_settings_with_their_defaults_and_meanings(capsys, group):
    code, out, _ = answer(capsys, "train", "--help", group)
    assert code == 0
    assert f"  {group}." in out
    assert "Config(" not in out


def test_help_shows_meaning_members_and_defaults_of_a_setting(capsys):
    flat = " ".join(answer(capsys, "train", "--help", "dataset")[1].split())
    assert "dataset.min_size=240 Images keep their aspect ratio" in flat
    assert "dataset.cache=auto" in flat
    assert "device: the GPU that trains" in flat


def test_help_lists_what_is_in_the_users_folder(capsys, tmp_path):
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "gentle.yaml").write_text("# Slowly, slowly.\nname: gentle\n")
    out = answer(capsys, "train", "--config-dir", str(tmp_path), "--help")[1]
    assert "gentle" in out
    assert "Slowly, slowly" in out


def test_help_of_a_group_there_is_not_names_those_there_are(capsys):
    code, _, err = answer(capsys, "train", "--help", "stratgy")
    assert code == 1
    assert "strategy" in err


def test_evaluate_has_a_help_of_its_own(capsys):
    code, out, _ = answer(capsys, "evaluate", "--help")
    assert code == 0
    assert "run=null" in out
    assert "headstart evaluate run=outputs/<run>" in out


def test_compare_has_a_help_of_its_own(capsys):
    code, out, _ = answer(capsys, "compare", "--help")
    assert code == 0
    flat = " ".join(out.split())
    assert "baseline=null What each row is compared with" in flat
    assert "wall_seconds: on a GPU" in flat
    assert "headstart compare outputs/" in flat


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("evaluate", "run=x", "dataset.root=data"), "headstart evaluate run=… it is root=<folder>"),
        (("evaluate", "run=x", "foo=3"), "The settings there: run, file, dataset, split, root"),
        (("doctor", "dataset=shapes", "model=ssd"), "--help lists those there are"),
    ],
)
def test_a_setting_of_another_verb_is_answered_with_this_verbs(capsys, typed, said):
    code, _, err = answer(capsys, *typed)
    assert code != 0
    assert said in err
    assert "full_key" not in err
    assert "+" not in err


MISTAKES = {
    "strategy=head_onyl": "Did you mean 'head_only'?",
    "strategy.freeze_throug=stem": "Did you mean 'freeze_through'?",
    "dataset.min_size=small": "dataset.min_size=small",
    "strategy.norm=freezed": "[frozen, affine_only, train, recalibrate]",
    "source=checkpoint": "source.path=…",
    "dataset.fraction=2": "at most 1",
    "+dataset.fractoin=0.5": "Did you mean 'fraction'?",
    "source=scratch strategy=head_only": "source=scratch with strategy=head_only",
    "dataset=voc_folder dataset.root=nowhere": "dataset.root=nowhere does not exist",
    "source=checkpoint source.path=nowhere": "source.path=nowhere does not exist",
    "seed": "missing EQUAL",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_1(capsys, monkeypatch, mistake):
    monkeypatch.setattr(sys, "argv", ["headstart"])
    code, _, err = answer(capsys, "train", *mistake.split())
    assert code == 1
    assert "headstart: " in err
    assert MISTAKES[mistake] in err
    assert not any(word in err for word in ("Traceback", "schema_", "provider=", "use +"))


def test_a_folder_that_is_no_run_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["headstart"])
    code, _, err = answer(capsys, "evaluate", f"run={tmp_path}")
    assert code == 1
    assert "no record.json" in err


def test_debugging_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("HEADSTART_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["headstart"])
    with pytest.raises(ValueError, match=r"source\.path"):
        cli.main(["train", "source=checkpoint"])


PROBE = """
import sys
from headstart.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    print("code", stopped.code)
print("heavy", [name for name in ("torch", "lightning", "timm", "wandb") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--help"],
        ["train", "strategy=x"],
        ["train", "source=scratch", "strategy=head_only"],
        ["evaluate", "run=x"],
        ["predict", "--help"],
        ["predict", "run=x", "images=y"],
        ["push", "run=x", "repo=me/y"],
        ["evaluate", "model=x.onnx", "dataset=shapes"],
        ["export", "run=x"],
        ["compare", "nowhere"],
        ["doctor", "dataset=voc_folder", "dataset.root=nowhere"],
        ["convert", "dataset=voc_folder", "dataset.root=nowhere", "to=coco", "folder=x"],
    ],
    ids=" ".join,
)
def test_help_and_mistakes_are_answered_before_torch_is_imported(arguments):
    command = [sys.executable, "-c", PROBE, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "heavy []"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("headstart ", "train evaluate rescore predict export doctor compare report look convert sources push"),
        ("headstart train strategy=h", "strategy=head_only"),
        ("headstart train source=s", "source=scratch"),
        ("headstart evaluate spl", "split="),
        ("headstart predict run=x thre", "threshold= thresholds."),
        ("headstart push rep", "repo="),
        ("headstart export quan", "quantize="),
        ("headstart compare met", "metric="),
        ("headstart compare out", ""),
        ("headstart doctor dataset=voc2007_", "dataset=voc2007_1000"),
        ("headstart doctor dataset=bccd fi", "fix="),
        ("headstart sources model=ssd", "model=ssd model=ssd_tf model=ssdlite"),
        ("headstart convert dataset=voc2", "dataset=voc2007 dataset=voc2007_1000 dataset=voc2012"),
        ("headstart convert fol", "folder="),
        ("headstart look augment=s", "augment=strong"),
        ("headstart report fol", "folder="),
        ("headstart nonsense x", ""),
    ],
)
def test_tab_completion_knows_verbs_choices_and_settings(capsys, monkeypatch, line, expected):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setattr(sys, "argv", ["headstart", "-sc", "query=bash"])
    code, out, _ = answer(capsys, "-sc", "query=bash")
    assert (code, out.strip()) == (0, expected)


def test_tab_completion_works_for_train_py(capsys, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "python train.py optimizer=")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert answer(capsys, "train", "-sc", "query=bash")[1].strip() == "optimizer=adamw optimizer=sgd"


def test_the_installed_completion_asks_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path("bin") / "headstart")])
    out = answer(capsys, "-sc", "install=bash")[1]
    assert out.rstrip().endswith("hydra_bash_completion headstart")


def test_help_that_is_not_read_to_its_end_leaves_no_traceback():
    command = f"{sys.executable} -m headstart train --help | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.startswith("headstart train: ")
    assert result.stderr == ""


@pytest.mark.parametrize("key", ["on", '"on"'])
def test_yamls_bare_on_is_explained_and_the_quoted_one_works(capsys, tmp_path, key):
    (tmp_path / "dataset").mkdir()
    text = f"defaults: [schema_voc, _self_]\nname: m\nroot: nowhere\n{key}:\n  clipped_box: skip_box\n"
    (tmp_path / "dataset" / "m.yaml").write_text(text)
    code, _, err = answer(capsys, "train", "--config-dir", str(tmp_path), "dataset=m")
    assert code != 0
    assert ('write it in quotes, "on":' in err) == (key == "on")
    assert ("dataset.root=nowhere does not exist" in err) == (key != "on")


@pytest.mark.parametrize("word", ["logger=null", "strategy=null"])
def test_a_group_that_is_given_no_name_is_refused_without_a_traceback(word, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["headstart", "train", word])
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", word])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert f"headstart: {word}: a group takes the name" in said
    assert "Traceback" not in said


def exported_files(folder: Path) -> Path:
    for name in ("model.safetensors", "model.json"):
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("quantize=int8 to=torch_export", "quantize=int8 goes with to=onnx nms=true"),
        ("quantize=int8 nms=false", "not with to=onnx nms=false"),
        ("calibration=8", "calibration=8: of use to quantize=int8 alone"),
        ("data_dir=x root=y", "root=y, data_dir=x: of use to quantize=int8 alone"),
        ("size=[300]", "size=[300] must be [height,width]"),
        ("size=[8,300]", "each 32 to 10000"),
        ("output=x.pt2", "ends in .onnx"),
        ("output=nowhere/x.onnx", "name a file in a folder that is there"),
        ("quantize=int8", "there is no record.json in it"),
    ],
)
def test_an_export_that_cannot_be_is_refused_by_what_is_wrong(capsys, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(sys, "argv", ["headstart"])
    code, _, err = answer(capsys, "export", f"run={exported_files(tmp_path)}", *words.split())
    assert code == 1
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "Not set: run"),
        ("run=x dataset=shapes", "dataset=… has no effect"),
        ("model=nowhere.onnx", "say what to measure it on, dataset=<choice>"),
        ("model=nowhere.onnx dataset=shapes", "no ONNX file that is there"),
        ("model=x.onnx dataset=shapes run=y", "give a file and its dataset, or a run"),
        ("model={}/x.onnx dataset=shapes dataset.min_size=64", "dataset.min_size=64: the file says"),
    ],
)
def test_a_run_and_a_file_are_not_to_be_evaluated_with_each_others_settings(capsys, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(sys, "argv", ["headstart"])
    (tmp_path / "x.onnx").write_text("")
    code, _, err = answer(capsys, "evaluate", *words.format(tmp_path).split())
    assert code == 1
    assert said in err
