"""Reads what W&B wrote, with its own reader, and keeps its client from the internet."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

VARIABLES = (
    "WANDB_API_KEY",
    "WANDB_MODE",
    "WANDB_DATA_DIR",
    "WANDB_CACHE_DIR",
    "WANDB_DIR",
    "WANDB_RUN_GROUP",
    "WANDB_PROJECT",
    "WANDB_ENTITY",
    "HEADSTART_STUDY",
)
"""That a developer's shell may have."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """As on a machine where nobody ever logged in; a server that is not there, unless `more` names one."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    alone = {"HOME": str(home), "NETRC": str(home / "none"), "WANDB_ERROR_REPORTING": "false", "OMP_NUM_THREADS": "1"}
    return kept | alone | {"WANDB_BASE_URL": "http://127.0.0.1:9", "COLUMNS": "120"} | more


def wandb_command(*arguments: str, **options: Any) -> str:
    """What `wandb <arguments>` prints."""
    program = shutil.which("wandb", path=str(Path(sys.executable).parent))
    assert program is not None
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=True, timeout=60, **options
    ).stdout


def headstart(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headstart", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def inspected(folder: Path) -> dict[str, Any]:
    """`config` and `summary` as they are at the end, and `name`, `project`, `run_id`, `tags`."""
    return json.loads(wandb_command("leet", "inspect", "--summary", "--json", str(folder)))


def inspected_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in wandb_command("leet", "inspect", "--json", str(folder)).splitlines()]


def run_of(folder: Path) -> dict[str, Any]:
    """What the run is: `run_group`, `job_type`, `display_name` …"""
    (run,) = [record["run"] for record in inspected_records(folder) if record["type"] == "run"]
    return run


def media_table(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table that a run logged."""
    (path,) = (folder / "files" / "media" / "table").glob(f"{name}_*.table.json")
    found = json.loads(path.read_text())
    return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]
