"""What a parquet file claims to hold, read without pyarrow: that ends the process for some footers it does not expect,
and takes the memory that a page claims before it looks at the page.

Thrift's compact protocol, of which a struct becomes {number of a field: value}; the numbers are those of
parquet.thrift. Every claim is held to what the file's own size allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from headstart import limits

_DEEPEST = 20
_HEADER_BYTES = 1 << 16
"""Of a page's header, with the smallest and the largest value in it."""
_COLUMNS, _GROUPS, _CHUNK = 1, 4, 3
_PATH, _VALUES, _UNPACKED, _PACKED, _DATA_PAGE, _DICTIONARY = 3, 5, 6, 7, 9, 11
_PAGE_UNPACKED, _PAGE_PACKED, _PAGE_KINDS = 2, 3, (5, 7, 8)
"""Fields of `FileMetaData`, `RowGroup`, `ColumnChunk`; of `ColumnMetaData`; of `PageHeader`."""

Chunk = dict[int, Any]
"""`ColumnMetaData`."""


class Thrift:
    """A reader of bytes; ValueError or IndexError where they are none of Thrift's."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("its footer is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"its footer has a value of kind {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._varint()
        if length > limits.FOOTER_ITEMS or depth > _DEEPEST:
            raise ValueError(f"its footer has a list of {length:,}")
        kind = head & 15
        return [self._byte() if kind in (1, 2) else self._value(kind, depth + 1) for _ in range(length)]

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise ValueError("its footer ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise ValueError("its footer has a number without end")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def chunks(footer: bytes) -> dict[str, list[Chunk]]:
    """Leaf (`objects.bbox.list.element`) -> what is claimed of it in each group of rows."""
    found: dict[str, list[Chunk]] = {}
    for group in Thrift(footer).struct().get(_GROUPS, []):
        for column in group.get(_COLUMNS, []):
            chunk = column.get(_CHUNK, {})
            found.setdefault(b".".join(chunk[_PATH]).decode(), []).append(chunk)
    return found


def values(parts: Sequence[Chunk]) -> int:
    """As many as a leaf claims."""
    return sum(part[_VALUES] for part in parts)


def check_pages(file: BinaryIO, size: int, parts: Sequence[Chunk]) -> None:
    """ValueError where a leaf's pages claim more than its footer does, or that more than a file of `size` may hold."""
    claimed = sum(max(0, part[_UNPACKED]) for part in parts)
    if claimed > max(limits.ARCHIVE_FREE, limits.ARCHIVE_GROWTH * size):
        raise ValueError(f"a column claims {claimed:,} bytes, too much for its size")
    for part in parts:
        starts = [at for at in (part.get(_DICTIONARY), part[_DATA_PAGE]) if at]
        at, unpacked, count = min(starts), 0, 0
        end = at + part[_PACKED]
        if min(at, part[_PACKED], part[_VALUES], part[_UNPACKED]) < 0 or end > size:
            raise ValueError("a column lies outside of the file")
        while at < end:
            file.seek(at)
            thrift = Thrift(file.read(_HEADER_BYTES))
            page = thrift.struct()
            data = next((page[kind] for kind in _PAGE_KINDS if kind in page), {})
            at += thrift.at + page[_PAGE_PACKED]
            unpacked += thrift.at + page[_PAGE_UNPACKED]
            count += data.get(1, 0) if 7 not in page else 0
            if min(page[_PAGE_PACKED], page[_PAGE_UNPACKED], data.get(1, 0)) < 0:
                raise ValueError("a page of less than nothing")
            if unpacked > part[_UNPACKED] or count > part[_VALUES] or data.get(1, 0) > limits.PARQUET_VALUES:
                raise ValueError("a page claims more than its footer")
