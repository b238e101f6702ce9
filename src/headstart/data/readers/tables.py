"""A csv file: its rows with their line numbers, by the names of the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart import limits
from headstart.data.policy import Policy
from headstart.data.readers.raw import Malformed

_LONGEST = 16 * 1024 * 1024
"""Characters of a field: outlines are long."""


@dataclass
class Table:
    rows: list[tuple[int, list[str]]]
    """(line number from 1, fields) of the rows that are not blank."""

    def header(self) -> list[str]:
        """The names of the columns, in small letters."""
        return [name.strip().strip("'\"").lower() for name in self.rows[0][1]] if self.rows else []

    def records(self, names: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, name -> field) of each row below the header; `Malformed` where a row has more fields than names."""
        for line, fields in self.rows[1:]:
            try:
                yield line, record(fields, names)
            except Malformed as error:
                raise Malformed(f"line {line}: {error}") from None

    def by_picture(
        self, names: list[str], column: str, where: str, policy: Policy
    ) -> Iterator[tuple[int, str, list[str]]]:
        """(line, picture, fields) of each row below the header; what names no picture in `column` is reported."""
        for line, fields in self.rows[1:]:
            try:
                picture = record(fields, names).get(column, "")
                why = "" if picture else f"no picture is named in the column {column}"
            except Malformed as error:
                picture, why = "", str(error)
            if why:
                policy.report("unnamed_image", f"{where}: line {line}: {why}")
            else:
                yield line, picture, fields


def record(fields: list[str], names: list[str]) -> dict[str, str]:
    """Name -> field; `Malformed` where there are more fields than names, so that none is sure of its own."""
    if len(fields) > len(names) and any(field.strip() for field in fields[len(names) :]):
        raise Malformed(f"{len(fields)} fields, where the header has {len(names)}; put fields with commas in quotes")
    return {name: field.strip() for name, field in zip(names, fields, strict=False)}


def load(path: Path) -> Table:
    """`Malformed`, with the line, for what is no text in UTF-8 or no csv. Commas, semicolons and tabs part fields."""
    data = limits.read_bytes(path, limits.ANNOTATIONS_BYTES, "a table of boxes")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(10) + 1
        raise Malformed(f"line {line}: not text in UTF-8; save it as that") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Malformed(f"line {line}: holds a zero byte, so it is no csv")
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True, skipinitialspace=True)
    rows = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append((reader.line_num, fields))
    except csv.Error as error:
        raise Malformed(f"line {reader.line_num}: not a readable csv file ({error})") from None
    return Table(rows)


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    return max(",;\t", key=first.count)  # the first of equals


def find_column(names: list[str], aliases: tuple[str, ...]) -> int | None:
    """Where the column is; `Malformed` where two are of this name."""
    fits = [number for number, name in enumerate(names) if name == next((a for a in aliases if a in names), None)]
    if len(fits) > 1:
        raise Malformed(f"line 1: two columns are called {names[fits[0]]!r}; remove one of them")
    return fits[0] if fits else None
