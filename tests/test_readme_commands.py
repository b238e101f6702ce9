"""Every training and comparing command of the README is given as it stands there, made small, and does what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch

from headstart.data.images import SUFFIXES

from .flow.test_launchers import slurm
from .test_readme import FILES, REPOSITORY, RUN, USING, of_kind, words
from .wandb_tools import environment

pytestmark = pytest.mark.slow

SMALL = (
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "dataset.min_size=64",
    "dataset.max_size=64",
    "dataset.batch_size=4",
)
DRAWN = ("dataset.num_train=12", "dataset.num_val=6")
"""Of the data set that a command has which names none."""
INSTEAD = {
    "dataset.download=true": (),  # tests/data/test_download.py does it, from a server of its own
    "source=coco": ("source=coco", "source.path=coco.pth"),
    "trainer=ddp": ("trainer=ddp", "trainer.devices=1"),
    "hydra.sweeper.n_trials=20": ("hydra.sweeper.n_trials=2",),
    "seed=0,1,2": ("seed=0",),
    "experiment=source_voc0712": ("experiment=source_voc0712", "dataset=voc2007_1000"),
    "experiment=source_coco": ("experiment=source_coco", "dataset=coco208"),
    "experiment=study": ("experiment=study", "hydra.sweeper.params.seed='0'"),
    "source.trainer.max_epochs=30": ("source.trainer.max_epochs=1",),
}
"""Word of a command -> what stands in its place here, where two cores and no network could not do it."""
EXTRAS = {"hydra/launcher=submitit_slurm": "submitit", "hydra/launcher=ray": "ray"}

__all__ = ["slurm"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    """A folder with what the README takes for granted: one's own photos, configuration, and a finished run."""
    place = tmp_path_factory.mktemp("readme")
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    photos(place / "my" / "photos")
    data_sets(place / "data", real_data)
    (place / "outputs").mkdir()
    return place


def photos(root: Path) -> None:
    """White squares on grey, labelled in each of the three formats."""
    images, annotations = [], []
    for number in range(12):
        split = ("train", "valid", "test")[0 if number < 6 else 1 + number % 2]
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        left, name = 5 + 4 * number, f"images/{split}/{number}"
        picture = PIL.Image.new("RGB", (96, 64), "grey")
        picture.paste("white", (left, 20, left + 30, 50))
        picture.save(root / f"{name}.png")
        (root / f"labels/{split}/{number}.txt").write_text(f"0 {(left + 15) / 96} {35 / 64} {30 / 96} {30 / 64}\n")
        box = f"<xmin>{left}</xmin><ymin>20</ymin><xmax>{left + 30}</xmax><ymax>50</ymax>"
        text = f"<annotation><object><name>square</name><bndbox>{box}</bndbox></object></annotation>"
        (root / f"{name}.xml").write_text(text)
        images.append({"id": number, "file_name": f"{name}.png", "width": 96, "height": 64})
        annotations.append({"id": number + 1, "image_id": number, "category_id": 1, "bbox": [left, 20, 30, 30]})
    for file, chosen in (("train.json", range(6)), ("val.json", range(6, 12))):
        part = {
            "images": [images[i] for i in chosen],
            "annotations": [annotations[i] | {"area": 900, "iscrowd": 0} for i in chosen],
            "categories": [{"id": 1, "name": "square"}],
        }
        (root / file).write_text(json.dumps(part))


def data_sets(root: Path, real: Path) -> None:
    """The named sets that the commands use; of VOC the first few photos, for it is the one that is pretrained on."""
    root.mkdir()
    for name in ("kangaroo", "bccd", "coco208", "facemask_510"):
        (root / name).symlink_to(real / name)
    for split in ("train", "val"):
        (root / "voc2007_1000" / split).mkdir(parents=True)
    few = sorted((real / "voc2007_1000").rglob("*.xml"))[:24]
    pictures = {path.stem: path for path in (real / "voc2007_1000").rglob("*") if path.suffix.lower() in SUFFIXES}
    for number, path in enumerate(few):
        folder = root / "voc2007_1000" / ("train" if number < 16 else "val")
        for file in (path, pictures[path.stem]):  # links out of a data set's folder are not followed
            shutil.copyfile(file, folder / file.name)
    birds = root / "birds"
    shutil.copytree(root / "voc2007_1000", birds)


Given = Callable[[list[str]], str]


@pytest.fixture
def given(workplace: Path, tmp_path: Path) -> Given:
    """`given(words)`: what the command prints, typed in that folder; it must end well."""

    def call(command: list[str]) -> str:
        variables = environment(tmp_path, HEADSTART_DATA=str(workplace / "data"))
        result = subprocess.run(
            command, cwd=workplace, env=variables, capture_output=True, text=True, timeout=1200, check=False
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        assert "Traceback" not in result.stdout + result.stderr
        return result.stdout

    return call


def small(command: str) -> list[str]:
    """The command's words for this Python, with what makes it small behind them."""
    first, *rest = words(command)
    program = [sys.executable, str(REPOSITORY / "train.py")] if first == "python" else [sys.executable, "-m", first]
    rest = [
        word for given_word in rest[1 if first == "python" else 0 :] for word in INSTEAD.get(given_word, (given_word,))
    ]
    square = ["dataset.max_size=64"] if "dataset.resize=stretch" in rest else []
    named = any(re.match(r"(dataset|experiment)=", word) for word in rest)
    return [*program, *rest, *SMALL, *square, *(() if named else DRAWN)]


@pytest.fixture(scope="module")
def finished_run(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What stands for `outputs/<run>`: the run of the README's first command."""
    command = small(next(line for line in of_kind("train") if "partial_freeze" in line))
    variables = environment(tmp_path_factory.mktemp("home"))
    subprocess.run(command, cwd=workplace, env=variables, check=True, capture_output=True, timeout=600)
    (record,) = (workplace / "outputs").glob("shapes-retinanet-*partial_freeze*/record.json")
    return str(record.parent.relative_to(workplace))


@pytest.mark.parametrize("command", [line for line in of_kind("train") if "--cfg" not in line], ids=str)
def test_a_training_command_trains(
    command: str, workplace: Path, given: Given, finished_run: str, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = small(command.replace(RUN, finished_run))
    for word in set(typed) & EXTRAS.keys():
        pytest.importorskip(EXTRAS[word])
    if "source.path=coco.pth" in typed:
        from torchvision.models.detection import fasterrcnn_resnet50_fpn

        torch.save(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), workplace / "coco.pth")
    if "dataset=voc2007" in typed:
        typed = [word.replace("dataset=voc2007", "dataset=voc2007_1000") for word in typed]
    said = given(typed)
    assert re.search(r"Finished: outputs/|Already finished: outputs/|[1-9]\d* finished|trials", said), said


@pytest.fixture(scope="module")
def a_study(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `outputs/` holds a study with a test split, two seeds and a baseline of each kind."""
    place = tmp_path_factory.mktemp("study")
    command = (
        "python train.py -m dataset=voc_folder dataset.root=my/photos dataset.test_fraction=0.3 dataset.val_split=null"
    )
    command += " source=scratch,imagenet strategy=full,partial_freeze seed=0,1"
    typed = [*small(command), f"output_dir={place}/outputs", "dataset.train_split=all"]
    variables = environment(tmp_path_factory.mktemp("home"))
    result = subprocess.run(
        typed, cwd=workplace, env=variables, capture_output=True, text=True, timeout=900, check=False
    )
    assert "6 finished" in result.stdout, result.stdout + result.stderr
    return place


@pytest.mark.parametrize("command", of_kind("headstart compare"))
def test_a_compare_command_compares(command: str, a_study: Path, tmp_path: Path) -> None:
    typed = [sys.executable, "-m", *words(command)]
    result = subprocess.run(
        typed, cwd=a_study, env=environment(tmp_path), capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "report.html" in result.stdout
    assert os.path.getsize(a_study / "outputs" / "report.html") > 10_000


@pytest.mark.parametrize("command", of_kind("headstart evaluate"))
def test_an_evaluate_command_measures(command: str, given: Given, finished_run: str) -> None:
    assert "mAP" in given([sys.executable, "-m", *words(command.replace(RUN, finished_run))])


@pytest.mark.parametrize("command", of_kind(*USING))
def test_a_command_of_another_verb_does_it(command: str, given: Given, finished_run: str) -> None:
    if "export" in command:
        pytest.importorskip("onnxruntime")
    given([sys.executable, "-m", *words(command.replace(RUN, finished_run))])


@pytest.mark.parametrize("command", of_kind("headstart sources"))
def test_a_sources_command_shows_what_there_is(command: str, given: Given, finished_run: str, workplace: Path) -> None:
    """With that run alone: other commands leave others in outputs/."""
    (workplace / "one").mkdir(exist_ok=True)
    shutil.copytree(workplace / finished_run, workplace / "one" / "run", dirs_exist_ok=True)
    said = given([sys.executable, "-m", *words(command), "folder=one"])
    assert "Published weights" in said
    assert ("source.path=one/" in said) == ("model=" not in command), "the finished run is of another network"
