"""The pages on adding things of one's own: what they show is written to files, and does what they say."""

import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import PIL.Image
import pytest
import timm
import torch

import headstart
from headstart.conf_path import conf_dir
from headstart.config import schema as s
from headstart.config.resolve import register, resolve
from headstart.data import catalog
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors import extension
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.detectors.split import cut_behind
from headstart.errors import UserError
from headstart.exporting.verb import export
from headstart.run import run
from headstart.transfer.sources import load_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import LoadReport

from ..tiny_run import TINY

PAGES = Path(__file__).resolve().parents[2] / "docs" / "extending"
NAMES = sorted(path.stem for path in PAGES.glob("*.md"))
CLASSES = ("circle", "square", "star")


def blocks(page: str, language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of all pages, to work in; nobody has named a file yet."""
    for text in (block for page in NAMES for language in ("python", "yaml") for block in blocks(page, language)):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extension, "_named", [])
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture
def configured(place: Path) -> Callable[..., s.RunConfig]:
    register()

    def compose(*words: str) -> s.RunConfig:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            return resolve(hydra.compose("train", [*words, f"hydra.searchpath=[file://{place / 'mine'}]"]))

    return compose


@pytest.mark.parametrize("page", NAMES)
def test_every_training_command_of_a_page_is_understood(page: str, configured: Any) -> None:
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("python train")]
    assert commands
    for command in commands:
        typed = [word for word in shlex.split(command)[2:] if "=" in word]
        assert configured(*(re.sub(r",[^\]]*$", "", word) for word in typed))


def test_extending_md_leads_to_every_page() -> None:
    text = (PAGES.parents[1] / "EXTENDING.md").read_text()
    assert {f"docs/extending/{name}.md" for name in NAMES} == set(re.findall(r"docs/extending/\w+\.md", text))
    assert NAMES == ["detector", "format", "neck", "source", "strategy"]


# ------------------------------------------------------------------------------------------ detector and neck


def detector_of(config: s.RunConfig, names: tuple[str, ...] = CLASSES) -> Detector:
    assert isinstance(config.model, s.ExtensionConfig)
    extension.name_file(config.model.file)
    torch.manual_seed(0)
    return build_detector(config.model, config.backbone, names, [config.postprocess]).eval()


def a_batch() -> Batch:
    box, no = torch.tensor([[10.0, 8.0, 50.0, 60.0]]), torch.tensor([False])
    target = Target(0, box, torch.tensor([1]), no, no, torch.tensor([2080.0]), (64, 96), (64, 96))
    generator = torch.Generator().manual_seed(0)
    return Batch.of([torch.randint(256, (3, 64, 96), dtype=torch.uint8, generator=generator)] * 2, [target] * 2)


@pytest.mark.parametrize("name", ["toy", "flat"])
def test_it_keeps_the_contract(name: str, configured: Any) -> None:
    config = configured(f"model={name}")
    detector, batch = detector_of(config), a_batch()
    with torch.no_grad():
        for stage in ("stage4", "neck"):
            cut_behind(detector, stage, batch)
    losses = detector.losses(batch)
    torch.stack(list(losses.values())).sum().backward()
    owner = stage_of_tensor(detector)
    moved = {owner[key] for key, one in detector.named_parameters() if one.grad is not None and one.grad.any()}
    assert moved == set(owner.values()) == {stage.name for stage in detector.stages()}
    more = detector_of(config, (*CLASSES, "moon")).state_dict()
    other = {key for key, tensor in detector.state_dict().items() if tensor.shape != more[key].shape}
    assert other == {axis.tensor for axis in detector.class_axes()}
    with torch.no_grad():
        assert detector.class_logits(detector.features(batch)).logits.shape[2] == 3
        assert len(detector.predict(list(batch.images))) == 2


def test_a_run_of_it_is_proved_recorded_and_used_where_its_file_is_named(
    configured: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured("model=toy", "source=imagenet", "strategy=head_only", "dataset=shapes", *TINY)
    record = run(config)
    assert (record.status, record.choices["model"], len(record.load["code"])) == ("finished", "toy", 32)
    assert record.load["loaded"]
    still = {row["stage"] for row in record.plan if not row["trainable"]}
    assert still == {row["stage"] for row in record.plan} - {"neck", "head"}
    (folder,) = (path.parent for path in (place / "outputs").glob("*-toy-*/record.json"))
    assert run(config).status == "finished"  # skipped: nothing has changed

    monkeypatch.setattr(extension, "_named", [])
    with pytest.raises(UserError, match=r"run only where you name it: extension=<the file>"):
        headstart.load(folder)
    with pytest.raises(UserError, match=r"headstart export writes those of Headstart alone"):
        export(s.ExportConfig(run=str(folder)))
    model = headstart.load(folder, device="cpu", extension="mine/toy.py")
    assert model.class_names == tuple(record.dataset["class_names"])
    model.predict(PIL.Image.new("RGB", (96, 64), "grey"))

    with (place / "mine" / "toy.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UserError, match=r"code \(model\.file\) is another"):
        run(config)


GOOD = "from dataclasses import dataclass\n@dataclass\nclass Settings:\n    width: int = 3\n"
REFUSED = {
    "no dataclass": ("", {}, r"has no Settings: it needs a dataclass Settings"),
    "no build": (GOOD, {}, r"has no build"),
    "misspelt": (
        GOOD + "def build(*given): return 1\n",
        {"widht": 3},
        r"model\.settings: .*widht.*settings of .*: width",
    ),
    "no number": (GOOD + "def build(*given): return 1\n", {"width": "x"}, r"model\.settings: .*'x'"),
    "no detector": (GOOD + "def build(*given): return 1\n", {}, r"build gives int, which is no Detector"),
    "an error in it": (GOOD + "def build(*given):\n    return 1 / 0\n", {}, r"line 6: ZeroDivisionError"),
    "no Python": ("def", {}, r"SyntaxError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_does_not_keep_its_word_is_refused_by_name(case: str, tmp_path: Path) -> None:
    text, settings, message = REFUSED[case]
    path = tmp_path / "own.py"
    path.write_text(text)
    config = s.ExtensionConfig(s.Architecture.extension, name="own", file=str(path), settings=settings)
    with pytest.raises(UserError, match="no command names this file"):
        build_detector(config, s.BackboneConfig(), CLASSES)
    extension.name_file(path)
    with pytest.raises(UserError, match=message):
        build_detector(config, s.BackboneConfig(), CLASSES)


def test_a_file_that_is_not_there_is_told_before_anything_is_read(configured: Any) -> None:
    from headstart.config.checks import check_files

    with pytest.raises(UserError, match=r"model\.file=other\.py does not exist"):
        check_files(configured("model=toy", "model.file=other.py"))


# ------------------------------------------------------------------------------------- source, strategy, format


def test_the_script_of_the_source_page_makes_a_source(configured: Any, place: Path, monkeypatch: Any) -> None:
    network = timm.create_model("tf_efficientnet_lite0")
    state = {f"encoder.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": state | {"decoder.weight": torch.zeros(1)}}, place / "theirs.pth")
    monkeypatch.setattr(sys, "argv", ["rename.py", "theirs.pth", "mine/backbone.safetensors"])
    runpy.run_path("mine/rename.py")
    config = configured("source=imagenet", "source.path=mine/backbone.safetensors")
    detector = build_detector(config.model, config.backbone, CLASSES)
    weights = load_source(config.source, config.model, config.backbone, detector)
    assert set(weights.tensors) == set(detector.library_names())
    ours, theirs = next(iter(detector.library_names().items()))
    assert torch.equal(weights.tensors[ours], network.state_dict()[theirs])


def test_the_strategy_of_its_page_does_what_the_page_says(configured: Any) -> None:
    config = configured("model=toy", "strategy=careful")
    detector = detector_of(config)
    owner = stage_of_tensor(detector)
    body = tuple(name for name, stage in owner.items() if stage.startswith("st"))
    report = LoadReport("imagenet", (), "", body, (), {}, CLASSES, ())
    plan = make_plan(config.strategy, config.optimizer, detector, report, 4)
    parameters = dict(detector.named_parameters())
    moving = [{owner[name] for name in parameters if name not in phase.frozen} for phase in plan.phases]
    every = set(owner.values())
    assert [every - found for found in moving] == [{"stem", "stage1", "stage2"}, {"stem"}]
    assert [(phase.start_epoch, phase.lr_factor) for phase in plan.phases] == [(0, 1.0), (2, 0.5)]
    assert {row.stage: row.lr for row in plan.stages}["stage3"] == pytest.approx(2e-5)


def test_the_script_of_the_format_page_makes_a_data_set(configured: Any, place: Path, monkeypatch: Any) -> None:
    (place / "photos").mkdir()
    for number in range(10):
        PIL.Image.new("RGB", (48, 40), (number, 0, 0)).save(place / "photos" / f"{number}.png")
        (place / "photos" / f"{number}.box").write_text(f"cat 1 2 {10 + number} 20\n")
    monkeypatch.setattr(sys, "argv", ["to_csv.py", "photos"])
    runpy.run_path("mine/to_csv.py")
    data = catalog.read(configured("dataset=csv_folder", "dataset.root=photos").dataset, 0)
    assert data.class_names == ("cat",)
    found = {tuple(row) for images in data.splits.values() for image in images for row in image.boxes_xyxy.tolist()}
    assert found == {(1.0, 2.0, 11.0 + number, 22.0) for number in range(10)}
