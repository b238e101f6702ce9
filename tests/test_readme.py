"""Every command of the README and the pages it leads to works: it is taken from there, and composed or run.

Training for real is left to `make demo` and to tests/test_readme_commands.py.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from headstart.compare import question
from headstart.conf_path import conf_dir
from headstart.config.resolve import register, typed
from headstart.config.schema import (
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    LookConfig,
    PredictConfig,
    ReportConfig,
    RescoreConfig,
    RunConfig,
)
from headstart.quoting import written_out
from headstart.runs.pretrained import check_all

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {path: path.read_text() for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))}
README = PAGES[REPOSITORY / "README.md"]
RUN = "outputs/<run>"


USING = {
    "headstart predict": PredictConfig,
    "headstart export": ExportConfig,
    "headstart rescore": RescoreConfig,
    "headstart report": ReportConfig,
    "headstart look": LookConfig,
}
VERB_KINDS = ("headstart evaluate", "headstart compare", "headstart sources", *USING)


def blocks(language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```$"
    return [block for text in PAGES.values() for block in re.findall(pattern, text, re.MULTILINE | re.DOTALL)]


COMMANDS = [*dict.fromkeys(line for block in blocks("sh") for line in block.splitlines() if line.strip())]
FILES = {re.findall(r"^# (\S+\.yaml)$", block, re.MULTILINE)[0]: block for block in blocks("yaml")}


def words(command: str) -> list[str]:
    return shlex.split(command.replace(RUN, "outputs/some_run"), comments=True)


def kind(command: str) -> str:
    """What a command begins with; the tests below each take one kind."""
    first = words(command)
    if first[:2] == ["python", "train.py"] or first[:2] == ["headstart", "train"]:
        return "help" if "--help" in first else "train"
    return " ".join(first[:2]) if first[0] == "headstart" else first[0]


def of_kind(*kinds: str) -> list[str]:
    return [command for command in COMMANDS if kind(command) in kinds]


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The files that the README shows, where it says they are."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert len(COMMANDS) >= 20
    assert {kind(command) for command in COMMANDS} == {"make", "train", "help", ".", "wandb", "pip", *VERB_KINDS}


def test_every_yaml_block_names_its_file_and_is_used() -> None:
    assert len(FILES) == 4
    for name in FILES:
        assert re.fullmatch(r"mine/\w+/\w+\.yaml", name)
        assert any(Path(name).stem in text for text in (*COMMANDS, *FILES.values()) if text is not FILES[name])


def split_train(command: str, root: Path) -> tuple[list[str], list[str]]:
    """Overrides, and folders of configuration."""
    rest = words(command)[2:]
    folders = [str(root / rest[i + 1]) for i, word in enumerate(rest) if word == "--config-dir"]
    flags = {
        "-m",
        "--config-dir",
        "--cfg",
        "job",
        *(rest[i + 1] for i, word in enumerate(rest) if word == "--config-dir"),
    }
    # Of launchers and sweepers, which have tests of their own; of an interval its lower end.
    rest = [word for word in rest if not re.match(r"\+?hydra[./]", word)]
    return [re.sub(r"=tag\(log, interval\(([^,]+),.*", r"=\1", word) for word in rest if word not in flags], folders


def cells(overrides: list[str]) -> list[tuple[str, ...]]:
    """Every combination of a sweep; one for a single run."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        list(one.sweep_string_iterator()) if one.is_sweep_override() else [one.get_value_element_as_str()]
        for one in parsed
    ]
    return [
        tuple(f"{one.get_key_element()}={value}" for one, value in zip(parsed, values, strict=True))
        for values in product(*choices)
    ]


def swept_by_the_experiment(overrides: list[str]) -> list[str]:
    chosen = [word.split("=")[1] for word in overrides if word.startswith("experiment=")]
    files = [conf_dir() / "experiment" / f"{name}.yaml" for name in chosen]
    nodes = [OmegaConf.load(path).get("hydra", {}) for path in files if path.is_file()]
    return [f"{key}={values}" for node in nodes if node for key, values in node.sweeper.params.items()]


def swept(command: str) -> Any:
    """Sixty cells take nine seconds."""
    return pytest.param(command, marks=[pytest.mark.slow] if "experiment=study" in command else [])


@pytest.mark.parametrize("command", [swept(command) for command in of_kind("train")])
def test_a_training_command_composes_and_passes_every_check(
    command: str, config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSTART_DATA", raising=False)
    overrides, folders = split_train(command, config_dir)
    combinations = cells([*overrides, *swept_by_the_experiment(overrides)])
    assert (len(combinations) > 1) == ("-m" in words(command))
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        for cell in combinations:
            search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"]
            config = typed(hydra.compose("train", [*cell, *search]), RunConfig)
            if "experiment=study" in cell and config.source.name == "scratch" and config.strategy.name != "full":
                continue  # not applicable: left out by the study itself
            check_all(config)


@pytest.mark.parametrize("command", of_kind("headstart evaluate"))
def test_an_evaluate_command_composes(command: str) -> None:
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        assert typed(hydra.compose("evaluate", words(command)[2:]), EvaluateConfig).run == "outputs/some_run"


@pytest.mark.parametrize("command", of_kind(*USING))
def test_a_command_of_another_verb_composes(command: str) -> None:
    verb, rest = words(command)[1], words(command)[2:]
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        typed(hydra.compose(verb, written_out(verb, rest)), USING[f"headstart {verb}"])


@pytest.mark.parametrize("command", of_kind("headstart compare"))
def test_a_compare_command_composes(command: str) -> None:
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        config = typed(hydra.compose("compare", written_out("compare", words(command)[2:])), CompareConfig)
    assert config.folder == "outputs/"
    assert question(config).group in ((), ("strategy",))


@pytest.mark.parametrize("command", of_kind("help"))
def test_a_help_command_lists_the_groups(command: str) -> None:
    result = run(["train.py" if word == "train.py" else word for word in words(command)], REPOSITORY)
    assert "strategy" in result
    assert "head_only" in result


@pytest.mark.parametrize("command", of_kind("make"))
def test_a_make_command_has_a_rule(command: str) -> None:
    assert re.search(rf"^{words(command)[1]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", of_kind("pip"))
def test_an_extra_that_is_to_be_installed_exists(command: str) -> None:
    (extra,) = re.findall(r"^pip install headstart\[(\w+)\]$", " ".join(words(command)))
    assert extra in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_virtual_environment_is_the_one_that_make_makes() -> None:
    assert of_kind(".") == [". .venv/bin/activate"]
    assert ".venv" in (REPOSITORY / "Makefile").read_text()


def test_every_choice_named_in_the_tables_exists() -> None:
    for group, page in (("source", "sources"), ("strategy", "strategies")):
        table = PAGES[REPOSITORY / "docs" / f"{page}.md"].split(f"| `{group}=` |")[1].split("\n\n")[0]
        named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
        examples = {"voc2007_1000"} if group == "source" else set()
        assert named == {path.stem for path in (conf_dir() / group).glob("*.yaml")} - examples
    for group in ("model", "backbone"):
        text = re.search(rf"`{group}=` \((.*?)\)", PAGES[REPOSITORY / "docs" / "strategies.md"])
        assert text is not None
        for choice in re.findall(r"`(\w+)`", text[1]):
            assert (conf_dir() / group / f"{choice}.yaml").is_file(), choice


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_points_to_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", PAGES[page]):
        assert (page.parent / target).is_file(), target


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {target for text in PAGES.values() for target in re.findall(r"\]\((?:docs/)?(\w+\.md)\)", text)}
    assert {page.name for page in PAGES} - reached == {"README.md", "index.md"}


def test_folders_and_modules_that_the_architecture_names_exist() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    paths = re.findall(r"`((?:src|conf|tests)/[\w/.]+)`", text)
    names = re.findall(r"`((?:\w+/)*\w+\.py)`", text)
    assert len(paths) > 10
    assert len(names) > 10
    missing = [path for path in paths if not (REPOSITORY / path).exists()]
    modules = [f"/{path.as_posix()}" for path in (REPOSITORY / "src").rglob("*.py")]
    assert missing + [name for name in names if not any(module.endswith(f"/{name}") for module in modules)] == []


def run(command: list[str], folder: Path) -> str:
    command = [sys.executable, *command[1:]] if command[0] == "python" else [sys.executable, "-m", *command]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_train_again_evaluate_and_transfer_work_one_after_the_other(tmp_path: Path) -> None:
    small = ["dataset.num_train=8", "dataset.num_val=4", "trainer.max_epochs=1", f"output_dir={tmp_path}/outputs"]
    first = words(next(command for command in COMMANDS if "partial_freeze" in command))
    run([*first, *small], REPOSITORY)
    assert "Already finished" in run([*first, *small], REPOSITORY)
    (folder,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    for name in ("record.json", "history.csv", "model.safetensors", "model.json", "wandb"):
        assert (folder / name).exists(), name
    for template in (*of_kind("headstart evaluate"), next(c for c in COMMANDS if "source=checkpoint" in c)):
        extra = small if kind(template) == "train" else []
        run([*shlex.split(template.replace(RUN, str(folder))), *extra], REPOSITORY)
