"""The constants of a frozen TensorFlow graph, read without TensorFlow (tensorflow/core/framework/*.proto).

Nothing in the file is run, and nothing that it says is believed: a length must lie inside of what holds it, and a
tensor must have as many bytes as its shape asks for, before memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart import limits
from headstart.errors import UserError

_NODE = 1  # GraphDef
_NAME, _OP, _ATTR = 1, 2, 5  # NodeDef
_KEY, _VALUE = 1, 2  # an entry of a map
_TENSOR = 8  # AttrValue
_DTYPE, _SHAPE, _CONTENT, _FLOATS = 1, 2, 4, 5  # TensorProto
_DIM, _SIZE = 2, 1  # TensorShapeProto
_FLOAT32 = 1  # DataType

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class BrokenGraph(ValueError):
    """The file is no frozen graph, or not a whole one; the text says why."""


def read_constants(path: Path) -> dict[str, np.ndarray]:
    """Name -> float32 array of every constant that holds float32. UserError for a file that is no frozen graph."""
    try:
        return dict(_constants(memoryview(limits.read_bytes(path, limits.GRAPH_BYTES, "a frozen graph"))))
    except (OSError, BrokenGraph) as error:
        raise UserError(
            f"{path}: this is no whole frozen TensorFlow graph ({error}). Install or download it again."
        ) from error


def _constants(graph: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    for number, node in _fields(graph):
        if number == _NODE and isinstance(node, memoryview):
            found = _constant(node)
            if found is not None:
                yield found


def _constant(node: memoryview) -> tuple[str, np.ndarray] | None:
    name, tensor, is_constant = "", None, False
    for number, value in _fields(node):
        if not isinstance(value, memoryview):
            continue
        if number == _NAME:
            name = _text(value)
        elif number == _OP:
            is_constant = bytes(value) == b"Const"
        elif number == _ATTR:
            tensor = _attribute(value, "value") or tensor
    array = _array(tensor, name) if is_constant and tensor is not None else None
    return None if array is None else (name, array)


def _attribute(entry: memoryview, wanted: str) -> memoryview | None:
    """The tensor of a map's entry, where its key is `wanted`."""
    parts = {number: value for number, value in _fields(entry) if isinstance(value, memoryview)}
    if _KEY not in parts or _VALUE not in parts or _text(parts[_KEY]) != wanted:
        return None
    return next((v for n, v in _fields(parts[_VALUE]) if n == _TENSOR and isinstance(v, memoryview)), None)


def _array(tensor: memoryview, name: str) -> np.ndarray | None:
    """None where it holds something else than float32."""
    shape: list[int] = []
    content, floats, dtype = memoryview(b""), memoryview(b""), None
    for number, value in _fields(tensor):
        if number == _DTYPE:
            dtype = value
        elif number == _SHAPE and isinstance(value, memoryview):
            shape = _shape(value)
        elif number == _CONTENT and isinstance(value, memoryview):
            content = value
        elif number == _FLOATS and isinstance(value, memoryview):
            floats = value
    if dtype != _FLOAT32:
        return None
    held = content if len(content) else floats
    count = math.prod(shape)
    if len(held) == 4 and count > 1 and not len(content):
        raise BrokenGraph(f"the constant {name[:80]!r} repeats one number {count} times: not a layer's weights")
    if len(held) != 4 * count:
        raise BrokenGraph(f"the constant {name[:80]!r} of shape {shape} has {len(held)} bytes in place of {4 * count}")
    return np.frombuffer(held, dtype="<f4").reshape(shape).copy()


def _shape(message: memoryview) -> list[int]:
    sizes = []
    for number, dim in _fields(message):
        if number == _DIM and isinstance(dim, memoryview):
            size = next((value for n, value in _fields(dim) if n == _SIZE), 0)
            sizes.append(size if isinstance(size, int) else -1)
    if any(size < 0 or size > 1 << 31 for size in sizes):
        raise BrokenGraph(f"a tensor's shape is {sizes}")
    return sizes


def _text(value: memoryview) -> str:
    return bytes(value[:1024]).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message, in order (protobuf.dev/programming-guides/encoding)."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise BrokenGraph(f"a field of the unknown kind {kind}")
        if place + size > len(message):
            raise BrokenGraph(f"a field of {size} bytes where {len(message) - place} are left")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """(value, place behind it); at most ten bytes of seven bits."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise BrokenGraph("it stops inside of a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise BrokenGraph("a number of more than ten bytes")
