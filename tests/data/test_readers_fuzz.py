"""Files changed at random are read or refused in words, never with a traceback."""

import contextlib
import importlib.util
import json
import tempfile
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.config import schema as s
from headstart.data import catalog
from headstart.errors import UserError

_spec = importlib.util.spec_from_file_location("written", Path(__file__).with_name("written.py"))
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)

WORDS = [
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b'"',
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"9" * 5000,
]
WORDS += [
    b"../../x.png",
    b"a.png",
    b"<image>",
    b"&lol;",
    b"[" * 3000,
    b"\\",
    b"\xef\xbb\xbf",
    b"\xd8\x00",
    b"1_0",
    b" ",
]
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "a.png",
    "\0",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
]


@st.composite
def changes(draw) -> list[tuple[float, int, bytes]]:
    """(where, as a share of the file; bytes removed; what is put there)."""
    what = st.one_of(st.sampled_from(WORDS), st.binary(max_size=4))
    return draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), what), min_size=1, max_size=3))


def changed(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for share, gone, put in edits:
        at = int(share * len(data))
        data = data[:at] + put + data[at + gone :]
    return data


def replaced(value, path: list[float], odd):
    """The value within, that `path` leads to, in place of which `odd` stands."""
    if not path or not isinstance(value, dict | list) or not value:
        return odd
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[min(int(path[0] * len(keys)), len(keys) - 1)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], path[1:], odd)
    return copy


def check(name: str, which: float, change) -> None:
    writer, form = written.FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for shade, stem in enumerate(written.BOXES):
            PIL.Image.new("RGB", written.SIZE, (shade, 0, 0)).save(root / f"{stem}.png")
        writer(root)
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".png")
        path = files[min(int(which * len(files)), len(files) - 1)]
        path.write_bytes(change(path.read_bytes()))
        with contextlib.suppress(UserError):
            catalog.read(s.SCHEMAS["dataset"][form](name="mine", root=folder), seed=0)


def of_bytes(name: str, which: float, edits: list) -> None:
    check(name, which, lambda data: changed(data, edits))


def of_values(name: str, which: float, path: list[float], odd) -> None:
    def change(data: bytes) -> bytes:
        if name == "hugging face":
            first, *rest = data.split(b"\n")
            return (
                b"\n".join([json.dumps(replaced(json.loads(first), path, odd)).encode(), *rest])
                if first[:1] == b"{"
                else data
            )
        return json.dumps(replaced(json.loads(data), path, odd)).encode()

    check(name, which, change)


QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
SHARES = st.floats(0, 1)
JSON = ("labelme", "via project", "label studio", "hugging face")


@pytest.mark.parametrize("name", written.FORMATS)
def test_files_with_changed_bytes_are_read_or_refused_in_words(name):
    settings(max_examples=100, **QUIET)(given(SHARES, changes())(lambda which, edits: of_bytes(name, which, edits)))()


@pytest.mark.parametrize("name", JSON)
def test_values_of_other_types_are_read_or_refused_in_words(name):
    values = st.sampled_from(ODD)
    run = settings(max_examples=100, **QUIET)(
        given(SHARES, st.lists(SHARES, max_size=7), values)(lambda which, path, odd: of_values(name, which, path, odd))
    )
    run()


@pytest.mark.slow
@pytest.mark.parametrize("name", written.FORMATS)
def test_ten_thousand_changed_files_are_read_or_refused_in_words(name):
    thorough = {**QUIET, "derandomize": False, "max_examples": 10_000}
    settings(**thorough)(given(SHARES, changes())(lambda which, edits: of_bytes(name, which, edits)))()
