"""The ids of a COCO json: numbers in one place and text in another in many exports.

1, 1.0, "1" and "01" are one id wherever a file has only one of them; what may be two is a `UserError`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.readers.json_files import show
from headstart.errors import UserError


class Ids:
    """The ids of a part of a file: which item each means."""

    def __init__(self, path: Path, part: str, items: list[Any]) -> None:
        self.part = part
        self.loosely: list[str] = []
        """What was matched by value, though written in another way."""
        self.written = [item["id"] for item in items]
        self._keys = [key(path, f"{part}[{number}]", "id", value) for number, value in enumerate(self.written)]
        self._exact: dict[str, int] = {}
        for number, own in enumerate(self._keys):
            first = self._exact.setdefault(own, number)
            if first != number:
                raise UserError(
                    f"{path}: {part}[{first}] and {part}[{number}] have the same id ({show(self.written[first])}, "
                    f"{show(self.written[number])}); each needs its own: export it again."
                )
        self._numbers = {own: number for number, own in enumerate(self.written) if type(own) is int}
        self._by_value: dict[str, list[int]] = {}
        for number, own in enumerate(self._keys):
            self._by_value.setdefault(_value(own), []).append(number)

    def find(self, path: Path, place: str, name: str, written: Any) -> int | None:
        """The number of the item that is meant; None where there is none, UserError where two might be."""
        if type(written) is int and written in self._numbers:
            return self._numbers[written]
        wanted = key(path, place, name, written)
        number = self._exact.get(wanted)
        if number is None:
            numbers = self._by_value.get(_value(wanted), [])
            if len(numbers) > 1:
                both = " or ".join(show(self.written[n]) for n in numbers)
                raise UserError(f"{path}: {place}: {name} {show(written)} may be {both} in {self.part}; correct it.")
            number = numbers[0] if numbers else None
        if number is not None and type(written) is not type(self.written[number]):
            self.loosely.append(f"{place}: {name} {show(written)} is {show(self.written[number])}")
        return number

    def find_many(self, written: np.ndarray) -> np.ndarray:
        """As `find`, of whole numbers (N,) int64; -1 where none of the items has this very number as its id."""
        known = {own: number for own, number in self._numbers.items() if abs(own) < 2**63}
        if not known:
            return np.full(len(written), -1)
        ids = np.fromiter(known, dtype=np.int64, count=len(known))
        order = ids.argsort()
        place = np.minimum(np.searchsorted(ids[order], written), len(ids) - 1)
        numbers = np.fromiter(known.values(), dtype=np.int64, count=len(known))[order][place]
        return np.where(ids[order][place] == written, numbers, -1)

    def order(self, number: int) -> tuple[bool, float, str]:
        """Numbers by value, then text."""
        value = number_of(self._keys[number])
        return value is None, value or 0, self._keys[number]


def key(path: Path, place: str, name: str, value: Any) -> str:
    """The id as text; UserError where it is none."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise UserError(f"{path}: {place}: {name} is {show(value)}; it must be a whole number, or text.")


def _value(text: str) -> str:
    """Text that is a whole number, as that number."""
    value = number_of(text)
    return str(int(value)) if value is not None and value.is_integer() and abs(value) < 2**53 else text


def number_of(value: Any) -> float | None:
    """Also of text that is a number; None where it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
