"""Files changed at random are read or refused in words: never with a traceback, nor with memory or time without end."""

import contextlib
import functools
import json
import re
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.policy import Policy
from headstart.errors import UserError
from tests.data import mutated, written

FORMATS = {**written.FORMATS, **written.OLDER}
MEMORY_BYTES = 300_000_000
"""That an example may take beyond what the process has, the stacks of the readers' threads included."""
CPU_SECONDS = 5.0


class Endless(BaseException):
    """Not caught by a reader that forgives OSError, as TimeoutError is."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """MemoryError where more is taken, and `Endless` CPU_SECONDS after the last `started`."""
    status = Path("/proc/self/status")
    now = int(re.search(r"VmData:\s+(\d+)", status.read_text())[1]) * 1024 if status.exists() else None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    before = signal.signal(signal.SIGPROF, stop)
    if now is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def stop(*_) -> None:
    raise Endless(f"an example took more than {CPU_SECONDS} s of CPU")


class Case:
    """A data set in a folder of its own, of which one file at a time is changed."""

    def __init__(self, name: str, folder: str) -> None:
        write, form = FORMATS[name]
        self.root = Path(folder)
        for shade, stem in enumerate(written.BOXES):
            PIL.Image.new("RGB", written.SIZE, (shade, 0, 0)).save(self.root / f"{stem}.png")
        write(self.root)
        found = sorted(path for path in self.root.rglob("*") if path.is_file() and path.suffix != ".png")
        self.files = [(path, path.read_bytes()) for path in found]
        self.read = functools.partial(catalog.read, SCHEMAS["dataset"][form](name="mine", root=folder), seed=0)

    def check(self, which: float, refuses: bool, change: mutated.Change) -> None:
        path, content = self.files[min(int(which * len(self.files)), len(self.files) - 1)]
        path.write_bytes(change(content))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            with contextlib.suppress(UserError):
                self.read(policy=Policy(refuses=refuses))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            path.write_bytes(content)

    def of_bytes(self, which: float, refuses: bool, changes: list[mutated.Change]) -> None:
        self.check(which, refuses, lambda data: functools.reduce(lambda now, change: change(now), changes, data))

    def of_values(self, which: float, refuses: bool, path: list[float], odd) -> None:
        def change(data: bytes) -> bytes:
            first, *rest = data.split(b"\n") if data.startswith(b'{"file_name"') else [data]
            if first[:1] not in (b"{", b"["):
                return data
            return b"\n".join([json.dumps(mutated.replaced(json.loads(first), path, odd)).encode(), *rest])

        self.check(which, refuses, change)


PHASES = [Phase.generate, Phase.shrink]
QUIET = {"phases": PHASES, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
JSON = ("labelme", "via project", "label studio", "hugging face", "coco")
WHERE = {"which": mutated.SHARES, "refuses": st.booleans()}
"""The file, as a share of them all, and whether it is read as training does or as doctor, which goes on."""
BYTES = {**WHERE, "changes": mutated.CHANGES}
VALUES = {**WHERE, "path": st.lists(mutated.SHARES, max_size=7), "odd": st.sampled_from(mutated.ODD)}


def run(name: str, number: int, derandomize: bool = True, values: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = Case(name, folder)
        case.read()

        def check(**drawn) -> None:
            (case.of_values if values else case.of_bytes)(**drawn)

        with bounded():
            how = settings(max_examples=number, derandomize=derandomize, **QUIET)
            how(given(**(VALUES if values else BYTES))(check))()


@pytest.mark.parametrize("name", FORMATS)
def test_files_with_changed_bytes_are_read_or_refused_in_words(name):
    run(name, 25)


@pytest.mark.parametrize("name", JSON)
def test_values_of_other_types_are_read_or_refused_in_words(name):
    run(name, 50, values=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_changed_files_are_read_or_refused_in_words(name):
    run(name, 10_000, derandomize=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON)
def test_ten_thousand_values_of_other_types_are_read_or_refused_in_words(name):
    run(name, 10_000, derandomize=False, values=True)
