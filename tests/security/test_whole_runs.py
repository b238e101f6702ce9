"""Whole runs with hostile files all around them: nothing in them is executed, and no secret is written anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
import torch

from ..wandb_tools import wandb_command
from .test_models import Payload

pytestmark = pytest.mark.slow

SMALL = (
    "dataset.min_size=64",
    "dataset.max_size=64",
    "dataset.batch_size=2",
    "dataset.num_workers=1",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "source=scratch",
)
SHAPES = ("dataset=shapes", "dataset.num_train=4", "dataset.num_val=2")


def headstart(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: word for name, word in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"} | variables
    command = [sys.executable, "-P", "-m", "headstart", *words]  # as the program `headstart`: not from this folder
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


SECRETS = {
    "WANDB_API_KEY": "wandbsecret" * 4,
    "HF_TOKEN": "hf_secretsecret",
    "AWS_SECRET_ACCESS_KEY": "awssecret/abc+def==",
}
PASSWORD = "urlpassword"


def test_no_secret_is_anywhere_in_what_a_run_and_a_comparison_leave(tmp_path):
    token = SECRETS["HF_TOKEN"]
    typed = [
        f'data_dir="s3://me:{PASSWORD}@bucket"',
        f'study.sources_dir="{SECRETS["AWS_SECRET_ACCESS_KEY"]}"',
        f'logger.wandb.notes="see https://me:{PASSWORD}@host/a?token={token}"',
        f"logger.wandb.tags=[{token}]",
    ]
    done = headstart(tmp_path, "train", *SHAPES, *SMALL, "logger=wandb", "output_dir=out", *typed, **SECRETS)
    assert done.returncode == 0, done.stderr
    failed = headstart(
        tmp_path, "train", *SHAPES, *SMALL, "output_dir=out", "source=checkpoint",
        f'source.path="https://me:{PASSWORD}@host/{token}.pt"', **SECRETS,
    )  # fmt: skip
    assert failed.returncode == 1
    compared = headstart(tmp_path, "compare", "out", "wandb=true", f"wandb_run.notes={token}", **SECRETS)
    assert compared.returncode == 0, compared.stderr
    said = "".join(run.stdout + run.stderr for run in (done, failed, compared))
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    logged = [path for path in written if path.suffix == ".wandb"]
    assert len(logged) == 2
    assert {"report.html", "record.json", "history.csv"} <= {path.name for path in written}
    said += "".join(wandb_command("leet", "inspect", "--json", str(path.parent)) for path in logged)
    for secret in (*SECRETS.values(), PASSWORD):
        assert secret not in said
        assert [path.name for path, content in written.items() if secret.encode() in content] == []


TRACE = "import pathlib; pathlib.Path({!r}).touch()\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A YOLO set and an exported model, with all that some program would import, load or run beside them."""
    trace, folder = str(tmp_path / "ran"), tmp_path / "hostile"
    for split in ("train", "val"):
        for number in range(4):
            picture, label = folder / f"images/{split}/{number}.png", folder / f"labels/{split}/{number}.txt"
            picture.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.effect_noise((64, 64), 50 + number).convert("RGB").save(picture)
            label.write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [square]\n")
    for name in ("hubconf", "conftest", "sitecustomize", "usercustomize", "setup", "torch", "headstart", "yaml", "PIL"):
        (folder / f"{name}.py").write_text(TRACE.format(trace))
    (folder / "evil.pth").write_text(TRACE.format(trace))
    torch.save({"a": Payload(Path(trace))}, folder / "cache.pt")
    torch.save({"a": Payload(Path(trace))}, folder / "labels" / "train.cache")
    for name in ("config.yaml", "conf/config.yaml", "hydra/config.yaml", ".hydra/config.yaml", "train.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"_target_: os.system\ncommand: touch {trace}\n")
    return folder


def test_nothing_beside_the_data_or_a_checkpoint_runs(tmp_path, hostile):
    """Read as data, gone on from as a source, evaluated and compared: from within the folder, too."""
    trace = tmp_path / "ran"
    data = ("dataset=yolo_folder", f"dataset.root={hostile}")
    trained = headstart(hostile, "train", "-m", *data, *SMALL, "logger=csv", f"output_dir={hostile}/out")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (run,) = (path.parent for path in (hostile / "out").glob("*/record.json"))
    for path in [*hostile.glob("*.py"), hostile / "config.yaml", hostile / "cache.pt"]:
        (run / path.name).write_bytes(path.read_bytes())
    assert headstart(run, "evaluate", f"run={run}").returncode == 0
    assert headstart(hostile, "doctor", *data, "out=doctor").returncode == 0
    assert headstart(run, "compare", str(hostile / "out")).returncode == 0
    assert not trace.exists()

    call = {"_target_": "os.system", "command": f"touch {trace}"}
    described = json.loads((run / "model.json").read_text())
    described |= call | {"backbone": described["backbone"] | call}
    good = (hostile / "data.yaml").read_text()
    (hostile / "data.yaml").write_text(
        f"train: images/train\nnames: !!python/object/apply:os.system ['touch {trace}']\n"
    )
    as_text = headstart(hostile, "train", *data, *SMALL, "logger=csv", "output_dir=other")
    assert as_text.returncode == 1
    assert "would run code" in as_text.stderr
    (run / "model.json").write_text(json.dumps(described))
    source = ("source=checkpoint", f"source.path={run}")
    started = headstart(run, "train", *SHAPES, *SMALL, *source, "logger=csv", "output_dir=other")
    assert started.returncode == 0, started.stderr  # a source is read for its weights
    (hostile / "data.yaml").write_text(good)
    refused = headstart(run, "evaluate", f"run={run}")
    assert (refused.returncode, "model.json" in refused.stderr) == (1, True), refused.stderr
    assert not trace.exists()
    exec(TRACE.format(str(trace)))
    assert trace.exists()
