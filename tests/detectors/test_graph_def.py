"""A frozen TensorFlow graph is read to the bit, and believed in nothing."""

import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.detectors.graph_def import read_constants
from headstart.errors import UserError


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    """As protobuf writes it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(shape: tuple[int, ...], content: bytes, dtype: int = 1) -> bytes:
    dims = b"".join(field(2, field(1, size)) for size in shape)
    return field(1, dtype) + field(2, dims) + field(4, content)


def node(name: str, value: bytes, op: str = "Const") -> bytes:
    attribute = field(1, b"value") + field(2, field(8, value))
    return field(1, field(1, name.encode()) + field(2, op.encode()) + field(5, attribute))


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("<f4")


def graph(**arrays: np.ndarray) -> bytes:
    return b"".join(node(name, tensor(value.shape, value.tobytes())) for name, value in arrays.items())


def read(path, data: bytes) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    return read_constants(path)


def test_constants_of_float32_are_read_and_nothing_else(tmp_path):
    wanted = {"a": array(3, 3, 2, 5), "b": array(7), "c": array()}
    others = node("d", tensor((2,), bytes(8), dtype=3)) + node("e", tensor((2,), bytes(8)), op="Variable")
    found = read(tmp_path / "graph.pb", graph(**wanted) + others + field(4, b"versions"))
    assert list(found) == ["a", "b", "c"]
    assert all(
        found[name].tobytes() == value.tobytes() and found[name].shape == value.shape for name, value in wanted.items()
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (graph(a=array(4))[:-3], "a field of"),
        (node("a", tensor((1 << 40,), bytes(4))), "shape"),
        (node("a", tensor((1 << 30, 1 << 30, 1 << 30), bytes(4))), "bytes in place of"),
        (node("a", tensor((5,), bytes(16))), "has 16 bytes in place of 20"),
        (b"\x0a" + b"\xff" * 9 + b"\x7f", "a field of"),
        (b"\x0a" + b"\xff" * 12, "more than ten bytes"),
        (b"\x0b", "unknown kind"),
    ],
    ids=[
        "truncated",
        "a side of a trillion",
        "a shape of 2^90",
        "too few bytes",
        "a length of 2^70",
        "varint",
        "kind",
    ],
)
def test_a_damaged_file_is_refused_by_name_before_memory_is_taken_for_it(tmp_path, data, said):
    path = tmp_path / "graph.pb"
    tracemalloc.start()
    with pytest.raises(UserError, match=r"graph\.pb: this is no whole frozen TensorFlow graph") as error:
        read(path, data)
    assert said in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@given(st.data())
def test_whatever_the_bytes_are_no_other_error_comes(tmp_path_factory, data):
    whole = bytearray(graph(a=array(2, 3), b=array(4)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.pb"
    path.write_bytes(whole)
    with suppress(UserError):
        read_constants(path)


def test_the_writer_here_is_protobufs():
    """A known encoding, of protobuf's own documentation: field 2, the text `testing`; field 1, the number 150."""
    assert field(2, b"testing") == bytes.fromhex("120774657374696e67")
    assert field(1, 150) == bytes.fromhex("089601")
    assert struct.unpack("<f", tensor((), struct.pack("<f", 1.5))[-4:]) == (1.5,)
