"""One run over two nodes: two processes of this machine that know of each other only by address, as on two machines.

Seen with gloo on the loopback device; not seen: NCCL, several GPUs, a real network.
"""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord

pytestmark = pytest.mark.slow

SETTINGS = ("dataset.num_train=8", "dataset.num_val=5", "trainer.max_epochs=2", "dataset.batch_size=2")
SPREAD = ("trainer.strategy=ddp", "trainer.devices=1", "trainer.num_nodes=2")


def torchrun(rank: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What the user types on each node."""
    where = ["--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}", "--master-addr=127.0.0.1"]
    return [sys.executable, "-m", "torch.distributed.run", *where, f"--master-port={port}"], {}


def slurm(rank: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What srun sets for each task (`srun --nodes=2 --ntasks-per-node=1`)."""
    task = {"NTASKS": "2", "PROCID": rank, "NODEID": rank, "LOCALID": "0", "NNODES": "2", "NTASKS_PER_NODE": "1"}
    job = {"JOB_ID": "4711", "JOB_NAME": "headstart", "JOB_NODELIST": "localhost", "NODELIST": "localhost"}
    own = {f"SLURM_{name}": str(value) for name, value in (task | job).items()}
    return [sys.executable], own | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(params=[torchrun, slurm], ids=["torchrun", "slurm"])
def two_nodes(request, command, tmp_path):
    """Exit codes and what each node printed."""
    port = free_port()
    started = []
    for rank in (0, 1):
        program, environment = request.param(rank, port)
        _, *rest = command(*SETTINGS, *SPREAD)
        started.append(
            subprocess.Popen(
                [*program, *rest],
                cwd=tmp_path,
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=180)[0] for process in started]
    return [process.returncode for process in started], said


def test_two_nodes_are_one_run_with_the_weights_of_two_processes(two_nodes, tmp_path, command, execute):
    codes, said = two_nodes
    assert codes == [0, 0], "\n".join(said)
    assert [out.count("Finished: ") for out in said] == [1, 0]
    (path,) = (tmp_path / "outputs").glob("*/record.json")
    record = RunRecord.read(path)
    assert record.status == "finished"
    assert [row["epoch"] for row in record.metrics["history"]] == [0, 1, 2]
    one = execute(command(*SETTINGS, "trainer.strategy=ddp", "trainer.devices=2", "output_dir=one"), tmp_path)
    assert one.returncode == 0, one.stdout + one.stderr
    (other,) = (tmp_path / "one").glob("*/model.safetensors")
    ours, theirs = load_file(path.parent / "model.safetensors"), load_file(other)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
