"""A file is whole or that of before, and where the disk is the reason, it is told with file and space."""

import os
import shutil
import subprocess
import sys

import pytest

from headstart.errors import UserError
from headstart.replacing import replacing, tidy

BROKEN = """
import resource, signal, subprocess, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from headstart.errors import UserError
from headstart.replacing import replacing
paths = [Path(sys.argv[1], name) for name in ("torch", "safetensors", "bytes")]
for path in paths:
    path.write_text("before")
if sys.argv[2] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
else:
    subprocess.run(["mount", "--bind", sys.argv[1], sys.argv[1]], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", sys.argv[1]], check=True)
for path in paths:
    name, tensors = path.name, {"a": torch.zeros(1 << 20)}
    try:
        with replacing(path) as temporary:
            if name == "bytes":
                temporary.write_bytes(bytes(4 << 20))
            else:
                (torch.save if name == "torch" else save_file)(tensors, temporary)
    except UserError as error:
        print(error)
    assert path.read_text() == "before"
"""


@pytest.mark.parametrize(("how", "reason"), [("full", "File too large"), ("read-only", "Read-only file system")])
def test_what_no_disk_takes_is_told_with_file_reason_and_space_whoever_writes(tmp_path, how, reason):
    """A limit on the size of files stands for the disk: torch and safetensors have errors of their own for it."""
    within = ["unshare", "-m"] if how == "read-only" else []
    if within and (shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode):
        pytest.skip("no right to mount a file system")
    words = [*within, sys.executable, "-c", BROKEN, str(tmp_path), how]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    for name, line in zip(("torch", "safetensors", "bytes"), lines, strict=True):
        assert line.startswith(f"{tmp_path / name} cannot be written: {reason}")
        assert "MB are free there now" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "safetensors", "torch"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(2, "no such file"), UserError("theirs")])
def test_a_mistake_of_the_program_or_the_user_stays_what_it_is(tmp_path, error):
    def fail():
        with replacing(tmp_path / "x") as path:
            path.write_text("half")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    for name in (f".last.ckpt.{os.getpid()}", ".record.json.77", ".reserved", ".failed-host-12.json", "last.ckpt.1"):
        (tmp_path / name).touch()
    tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".failed-host-12.json", ".reserved", "last.ckpt.1"]
    tidy(tmp_path / "missing")
