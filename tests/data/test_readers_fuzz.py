"""Files changed at random are read or refused in words: never with a traceback, nor with memory or time without end."""

import contextlib
import functools
import importlib.util
import json
import re
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headstart.config import schema as s
from headstart.data import catalog
from headstart.errors import UserError

_spec = importlib.util.spec_from_file_location("written", Path(__file__).with_name("written.py"))
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)

FORMATS = {**written.FORMATS, **written.OLDER}
MEMORY_BYTES = 300_000_000
"""That an example may take beyond what the process has, the stacks of the readers' threads included."""
CPU_SECONDS = 5.0
WORDS = [
    *(
        b"0",
        b"-1",
        b"1e400",
        b"1e308",
        b"nan",
        b"inf",
        b"-inf",
        b"null",
        b"true",
        b'""',
        b"[]",
        b"{}",
        b'"',
        b",",
        b"\n",
    ),
    *(
        b"\0",
        b"\xff",
        b"9" * 5000,
        b"x" * 300 + b".png",
        str(10**30).encode(),
        b"../../x.png",
        b"/etc/passwd",
        b"a.png",
        b"<image>",
        b"&lol;",
    ),
    *(
        b"\\",
        b"\xef\xbb\xbf",
        b"\xd8\x00",
        b"1_0",
        b" ",
        b"",
        b"'",
        b"#",
        b": ",
        b"- ",
        b"*a",
        b"&a",
        b"<<",
        b"!!python/name:os",
    ),
    *("é日本🐜".encode(), "\u2028".encode(), "\u0661".encode(), b"\xed\xa0\x80", b"\r", b"\x85", b"\x1a"),
    *(
        b"[" * 3000,
        b"[" * 30_000,
        b'{"a":' * 30_000,
        b"<object>" * 10_000,
        b"x" * 90_000,
        b"1 " * 60_000,
        b"\n" * 30_000,
    ),
]
ODD = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e300,
        10**30,
        float("nan"),
        float("inf"),
        "",
        "x",
        "a.png",
        "\0",
        "\ud800",
        "nan",
        "1e400",
    ),
    *([], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4, 5], "é日本"),
]
TOKEN = re.compile(rb"[^\s,:<>\"{}\[\]=/]+")
Change = Callable[[bytes], bytes]


def put(share: float, gone: int, word: bytes) -> Change:
    return lambda data: (at := int(share * len(data)), data[:at] + word + data[at + gone :])[1]


def flip(share: float, bit: int) -> Change:
    def change(data: bytes) -> bytes:
        at = min(int(share * len(data)), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if data else data

    return change


def end(share: float) -> Change:
    return lambda data: data[: int(share * len(data))]


def swap_lines(one: float, other: float) -> Change:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\n")
        i, j = (min(int(share * len(lines)), len(lines) - 1) for share in (one, other))
        lines[i], lines[j] = lines[j], lines[i]
        return b"\n".join(lines)

    return change


def swap_tokens(one: float, other: float) -> Change:
    def change(data: bytes) -> bytes:
        spans = [found.span() for found in TOKEN.finditer(data)]
        if len(spans) < 2:
            return data
        (a, b), (c, d) = sorted(spans[min(int(share * len(spans)), len(spans) - 1)] for share in (one, other))
        return data if a == c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]

    return change


def put_token(share: float, word: bytes) -> Change:
    def change(data: bytes) -> bytes:
        spans = [found.span() for found in TOKEN.finditer(data)]
        if not spans:
            return word
        a, b = spans[min(int(share * len(spans)), len(spans) - 1)]
        return data[:a] + word + data[b:]

    return change


SHARES = st.floats(0, 1)
PUT = st.one_of(st.sampled_from(WORDS), st.binary(max_size=4))
CHANGE = st.one_of(
    st.builds(put, SHARES, st.integers(0, 40), PUT),
    st.builds(put_token, SHARES, PUT),
    st.builds(swap_tokens, SHARES, SHARES),
    st.builds(swap_lines, SHARES, SHARES),
    st.builds(flip, SHARES, st.integers(0, 7)),
    st.builds(end, SHARES),
)
CHANGES = st.lists(CHANGE, min_size=1, max_size=4)


def replaced(value, path: list[float], odd):
    """The value within, that `path` leads to, in place of which `odd` stands."""
    if not path or not isinstance(value, dict | list) or not value:
        return odd
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[min(int(path[0] * len(keys)), len(keys) - 1)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], path[1:], odd)
    return copy


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
        self.read = functools.partial(catalog.read, s.SCHEMAS["dataset"][form](name="mine", root=folder), seed=0)

    def check(self, which: float, change: Change) -> None:
        path, content = self.files[min(int(which * len(self.files)), len(self.files) - 1)]
        path.write_bytes(change(content))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            with contextlib.suppress(UserError):
                self.read()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            path.write_bytes(content)

    def of_bytes(self, which: float, changes: list[Change]) -> None:
        self.check(which, lambda data: functools.reduce(lambda content, change: change(content), changes, data))

    def of_values(self, which: float, path: list[float], odd) -> None:
        def change(data: bytes) -> bytes:
            first, *rest = data.split(b"\n") if data.startswith(b'{"file_name"') else [data]
            if first[:1] not in (b"{", b"["):
                return data
            return b"\n".join([json.dumps(replaced(json.loads(first), path, odd)).encode(), *rest])

        self.check(which, change)


PHASES = [Phase.generate, Phase.shrink]
QUIET = {"phases": PHASES, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
JSON = ("labelme", "via project", "label studio", "hugging face", "coco")
BYTES = {"which": SHARES, "changes": CHANGES}
VALUES = {"which": SHARES, "path": st.lists(SHARES, max_size=7), "odd": st.sampled_from(ODD)}


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
