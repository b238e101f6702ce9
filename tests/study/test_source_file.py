"""Where Hydra cannot sweep over a pretrained source with settings of its own, the error writes the file that can."""

import sys
from pathlib import Path

import pytest

from headstart import cli
from headstart.config.compose import compose
from headstart.config.resolve import resolved_dict
from headstart.study.source_file import write_for

OWN = ["dataset@source.dataset=voc2007_1000", "source.trainer.max_epochs=3", "strategy@source.strategy=head_only"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_file_is_the_source_that_the_words_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said = write_for(["-m", "source=imagenet,pretrained", *OWN, "source.seed=2", "seed=0,1"])
    assert said.endswith("headstart train --config-dir mine -m source=imagenet,from_voc2007_1000 seed=0,1")
    (path,) = Path("mine").rglob("*.yaml")
    monkeypatch.setattr("headstart.config.compose.conf_dir", lambda: merged(path))
    as_file = resolved_dict(compose(["dataset=shapes", "source=from_voc2007_1000"]))
    as_words = resolved_dict(compose(["dataset=shapes", "source=pretrained", *OWN, "source.seed=2"]))
    assert as_file == as_words


def merged(path: Path) -> Path:
    """Our configuration with the user's file in it, as `--config-dir` adds it."""
    import shutil

    from headstart.conf_path import conf_dir

    folder = Path("conf").absolute()
    shutil.copytree(conf_dir(), folder, dirs_exist_ok=True)
    shutil.copy(path, folder / "source")
    return folder


def test_the_error_of_the_command_line_writes_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["headstart", "train"])
    with pytest.raises(SystemExit, match="1"):
        cli.main(["train", "-m", "source=pretrained,scratch", *OWN])
    err = capsys.readouterr().err
    assert "which was written: mine/source/from_voc2007_1000.yaml" in err
    assert "conf/source/<name>.yaml" not in err
    assert Path("mine/source/from_voc2007_1000.yaml").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "source=pretrained,scratch"],
        ["source=scratch", *OWN],
        ["-m", "source=imagenet,scratch", *OWN],
        ["-m", "source=pretrained,scratch", "source.trainer.max_epochs=3,5"],
    ],
    ids=["no settings", "no study", "not pretrained", "several files"],
)
def test_other_mistakes_write_nothing(words: list[str]) -> None:
    assert write_for(words) == ""
    assert not Path("mine").exists()


def test_a_file_of_the_users_is_not_overwritten() -> None:
    path = Path("own/source/from_voc2007_1000.yaml")
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    from headstart.errors import UserError

    with pytest.raises(UserError, match=r"from_voc2007_1000\.yaml is in the way"):
        write_for(["--config-dir", "own", "-m", "source=imagenet,pretrained", *OWN])
    assert path.read_text() == "mine"
