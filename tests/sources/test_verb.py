"""`headstart sources` shows what is here, what it would take, and the words that use it; without torch, at once."""

import dataclasses
import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from headstart import cli
from headstart.config.compose import compose
from headstart.config.published import PUBLISHED
from headstart.config.schema import Architecture, RetinaNetConfig, SourceKind, SourcesConfig, SSDConfig, SSDVariant
from headstart.config.weights import Package
from headstart.records.record import RunRecord
from headstart.sources import places
from headstart.sources.places import hub_folder, place_of
from headstart.sources.runs import own_runs
from headstart.sources.verb import MOST_RUNS, run_command, sources

RETINANET = RetinaNetConfig(architecture=Architecture.retinanet)
RESNET18 = next(row for row in PUBLISHED if row.backbone == "resnet18")
SSDLITE = next(row for row in PUBLISHED if row.architecture is Architecture.ssdlite)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What it prints, blanks and lines joined."""
    cli.main(["sources", *arguments])
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither runs nor files of the machine that tests; a terminal of 120 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(places, "_hugging_face", lambda: tmp_path / "hub")
    monkeypatch.setattr(sys, "argv", ["headstart", "sources"])


def cache(row: Any, mib: float) -> Path:
    path = hub_folder() / "checkpoints" / Path(row.place).name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(int(mib * 2**20))
    return path


def make_run(folder: Path, ap: float | None = 0.25, status: str = "finished", **backbone: Any) -> Path:
    """A run of RetinaNet on EfficientNet-Lite0, drawn: record, description and one tensor."""
    folder.mkdir(parents=True)
    body = {"name": "efficientnet_lite0", "architecture": "tf_efficientnet_lite0", "neck_channels": 64} | backbone
    record = RunRecord(status=status, choices={"dataset": "birds"}, lineage=["imagenet", "birds"])
    record.metrics = {"val": {"map": ap}}
    record.write(folder / "record.json")
    model = {"architecture": "retinanet", "variant": "v1"}
    (folder / "model.json").write_text(json.dumps({"model": model, "backbone": body}))
    save_file({"a": np.zeros(5, np.float32)}, folder / "model.safetensors")
    return folder


def test_it_answers_within_a_second_and_without_torch(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "one")
    code = (
        "import sys; from headstart.cli import main; sys.argv = ['headstart', 'sources']; main(['sources']);"
        "print([name for name in ('torch', 'timm', 'torchvision', 'lightning') if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.stdout.rstrip().endswith("[]")
    assert "Your finished runs" in result.stdout
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 1


def test_without_a_network_everything_is_shown_and_the_usual_one_is_marked(capsys: Any) -> None:
    out = answer(capsys)
    for row in PUBLISHED:
        assert row.score in out
        assert row.licence in out
    assert "backbone=efficientnet_lite0 source=imagenet *" in out
    assert out.count(" * ") == 2, "the row and the sentence below"


def test_of_a_network_what_fits_is_shown_and_why_the_rest_does_not(capsys: Any) -> None:
    out = answer(capsys, "model=ssd_tf", "backbone=mobilenetv2_100")
    assert "model=ssd model.variant=tf backbone=mobilenetv2_100 source=coco_ssd detector" in out
    assert "resnet50" not in out
    assert "Not for this network: source=imagenet does not go with backbone=mobilenetv2_100" in out
    out = answer(capsys, "model=fcos", "backbone=resnet18")
    assert "model=fcos backbone=resnet18 source=imagenet backbone to download 69.758 % top-1 45" in out
    assert "Not for this network: source=coco: there are no COCO weights for model=fcos with backbone=resnet18" in out


def test_a_file_that_the_user_fetches_has_its_address(capsys: Any) -> None:
    out = answer(capsys, "model=yolov3", "backbone=darknet53")
    assert "source=darknet source.path=yolov3.weights detector" in out
    assert "file: https://pjreddie.com/media/files/yolov3.weights" in out


def test_a_backbone_that_the_table_does_not_know_is_said_to_be_unknown(capsys: Any, tmp_path: Path) -> None:
    out = answer(capsys, "backbone=timm", "backbone.architecture=regnety_004")
    assert "backbone=timm backbone.architecture=regnety_004 source=imagenet backbone to download unknown unknown" in out
    path = tmp_path / "hub" / "models--timm--regnety_004.pycls_in1k" / "snapshots" / "0f" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    assert "source=imagenet backbone cached" in answer(capsys, "backbone=timm", "backbone.architecture=regnety_004")


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "there"}, {"XDG_CACHE_HOME": "there"}, {}])
def test_the_cache_is_torch_hubs(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(hub_folder()) == torch.hub.get_dir()


def test_a_cached_file_is_found_and_one_that_is_cut_off_is_damaged(capsys: Any) -> None:
    assert place_of(RESNET18).state == "to download"
    assert RESNET18.mib
    whole = cache(RESNET18, RESNET18.mib)
    assert place_of(RESNET18) == places.Place("cached", whole)
    path = cache(RESNET18, 12.5)
    found = place_of(RESNET18)
    assert (found.state, found.remedy) == ("damaged", f"remove {path} (it has 12.5 of 44.7 MiB)")
    assert f"damaged: remove {path} (it has 12.5 of 44.7 MiB)" in answer(capsys, "backbone=resnet18")


@pytest.mark.parametrize("row", [row for row in PUBLISHED if isinstance(row.place, Package)])
def test_a_package_that_is_not_installed_has_its_pip_line(row: Any) -> None:
    absent = dataclasses.replace(row, place=dataclasses.replace(row.place, module="not_a_module_of_anyone"))
    found = place_of(absent)
    assert (found.state, found.remedy) == ("not installed", f"pip install {row.place.install}")


def test_ones_own_runs_are_shown_best_first_with_words_that_are_accepted(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "a run", 0.2)
    make_run(tmp_path / "outputs" / "sources" / "better", 0.4)
    make_run(tmp_path / "outputs" / "at work", status="interrupted")
    runs, problems = own_runs(Path("outputs"))
    assert ([run.map for run in runs], problems) == ([0.4, 0.2], [])
    words = shlex.split(run_command(runs[1], with_network=True))
    config: Any = compose(["dataset=shapes", *words])
    assert (config.source.path, config.source.name) == ("outputs/a run", "birds")
    assert runs[1].fits(config.model, config.backbone)


def test_runs_of_other_networks_are_left_out(tmp_path: Path, capsys: Any) -> None:
    make_run(tmp_path / "outputs" / "other", neck_channels=128)
    out = answer(capsys, "model=retinanet", "backbone=efficientnet_lite0")
    assert "of 1 finished ones in outputs none is for this network" in out
    assert "source.path=outputs/other" in answer(capsys, "model=retinanet")


def test_what_cannot_be_loaded_is_left_out_by_name(tmp_path: Path, capsys: Any) -> None:
    cut = make_run(tmp_path / "outputs" / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    (make_run(tmp_path / "outputs" / "odd") / "model.json").write_text("{")
    (make_run(tmp_path / "outputs" / "bad") / "record.json").write_text("[]")
    out = answer(capsys)
    assert "Left out: outputs/cut/model.safetensors is not there, or not whole" in out
    assert "Left out: outputs/odd/model.json is no description of a model" in out
    assert "Left out: outputs/bad/record.json is no run's record" in out
    assert "Your finished runs" not in out


def test_many_runs_are_counted(tmp_path: Path, capsys: Any) -> None:
    for number in range(MOST_RUNS + 2):
        make_run(tmp_path / "outputs" / f"run{number}", number / 100)
    out = answer(capsys)
    assert "2 more of your runs are for this network" in out
    assert "run0 " not in out


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        cli.main(["sources", "folder=file"])
    assert "folder=file is no folder" in capsys.readouterr().err


def test_of_a_model_that_is_defined_on_one_backbone_no_other_is_offered() -> None:
    found = sources(SourcesConfig(model=SSDConfig(architecture=Architecture.ssd, variant=SSDVariant.tf)))
    assert [(row.source, row.architecture) for row in found] == [(SourceKind.coco_ssd, Architecture.ssd)]


def test_rows_are_given_to_python_too(capsys: Any) -> None:
    found = sources(SourcesConfig(model=RETINANET, folder="nowhere"))
    assert {row.architecture for row in found} == {Architecture.retinanet, None}
    assert SSDLITE not in found
