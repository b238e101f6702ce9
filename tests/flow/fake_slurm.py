"""Stands for SLURM's commands: jobs start at once, on this machine. Linked as sbatch, srun, sacct and scontrol.

Each job has a folder below $FAKE_SLURM: its script, and the id of its process while it works.
"""

import os
import subprocess
import sys
from pathlib import Path

JOBS = Path(os.environ["FAKE_SLURM"])
ONE_TASK = {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NNODES": "1"}


def sbatch(script: str) -> None:
    number = 1001
    while True:
        try:
            (JOBS / str(number)).mkdir(parents=True)
            break
        except FileExistsError:  # taken by another sbatch
            number += 1
    (JOBS / str(number) / "script").write_text(Path(script).read_text())
    start(str(number))
    print(f"Submitted batch job {number}")


def start(number: str) -> None:
    environment = os.environ | ONE_TASK | {"SLURM_JOB_ID": number, "SLURM_JOB_NAME": "headstart"}
    environment |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    with (JOBS / number / "out").open("ab") as out:
        subprocess.Popen(
            ["bash", str(JOBS / number / "script")],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )


def srun(*words: str) -> None:
    """Options and their values, then the command, which is Python."""
    command = words[words.index(sys.executable) :]
    (JOBS / os.environ["SLURM_JOB_ID"] / "pid").write_text(str(os.getpid()))
    os.execv(command[0], command)


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for job in JOBS.iterdir():
        print(f"{job.name}|{'RUNNING' if alive(job) else 'FAILED'}|here")


def alive(job: Path) -> bool:
    try:
        os.kill(int((job / "pid").read_text()), 0)
    except (ProcessLookupError, ValueError):
        return False
    except FileNotFoundError:  # not yet started
        return True
    return True


def scontrol(verb: str, number: str) -> None:
    assert verb == "requeue"
    (JOBS / number / "requeued").touch()
    start(number)


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol}[Path(sys.argv[0]).name](*sys.argv[1:])
