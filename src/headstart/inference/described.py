"""Values of a model's description, each of the type and size that it must have; ValueError where it has not."""

from __future__ import annotations

import math
from typing import Any

from headstart import limits
from headstart.config.schema import Resize
from headstart.data.types import Size


def text(values: dict[str, Any], key: str) -> str:
    return _of(str, values[key], key)


def texts(values: dict[str, Any], key: str) -> tuple[str, ...]:
    found = _of(list, values[key], key)
    if len(found) > limits.CLASSES or not all(isinstance(item, str) for item in found):
        raise ValueError(f"{key} is no list of at most {limits.CLASSES:,} names")
    return tuple(found)


def settings(values: dict[str, Any], key: str) -> dict[str, Any]:
    return _of(dict, values[key], key)


def three(values: dict[str, Any], key: str) -> tuple[float, float, float]:
    """A number for each colour."""
    found = _of(list, values[key], key)
    if len(found) != 3 or not all(map(_is_number, found)):
        raise ValueError(f"{key} is not three numbers")
    return found[0], found[1], found[2]


def side(values: dict[str, Any], key: str) -> int:
    """Pixels."""
    found = _of(int, values[key], key)
    if not 1 <= found <= limits.MODEL_SIDE:
        raise ValueError(f"{key}={found} is not 1 to {limits.MODEL_SIDE} pixels")
    return found


def size(values: dict[str, Any]) -> Size:
    """Of the pictures; files from before there was a choice do not say `resize`: their shape was kept."""
    how = values.get("resize", Resize.keep.value)
    if not isinstance(how, str) or how not in Resize.__members__:
        raise ValueError(f"resize={how!s:.40} is not one of {', '.join(Resize.__members__)}")
    found = Size(side(values, "min_size"), side(values, "max_size"), Resize[how])
    if found.resize is Resize.stretch and found.min_size != found.max_size:
        raise ValueError(f"resize=stretch makes squares, but min_size={found.min_size}, max_size={found.max_size}")
    return found


def positive(values: dict[str, Any], key: str) -> float | None:
    """None where there is none."""
    found = values.get(key)
    if found is None:
        return None
    if not _is_number(found) or found <= 0:
        raise ValueError(f"{key}={found} is no number above 0")
    return float(found)


def sides_hw(values: dict[str, Any], key: str) -> tuple[tuple[int, int], ...]:
    """Height and width of each; none where the key is not there."""
    found = _of(list, values.get(key, []), key)
    if len(found) > limits.CANVASES or not all(isinstance(pair, list) and len(pair) == 2 for pair in found):
        raise ValueError(f"{key} is no list of at most {limits.CANVASES} pairs of sides")
    return tuple((side({key: height}, key), side({key: width}, key)) for height, width in found)


def shares(values: dict[str, Any], key: str) -> dict[str, float]:
    """Name -> 0 to 1; none where the key is not there."""
    found = _of(dict, values.get(key, {}), key)
    for name, share in found.items():
        if not _is_number(share) or not 0 <= share <= 1:
            raise ValueError(f"{key}: {name!s:.40}={share!s:.40} is no number from 0 to 1")
    return found


def number(values: dict[str, Any], key: str) -> float:
    """0 or more."""
    found = values[key]
    if not _is_number(found) or found < 0:
        raise ValueError(f"{key}={found!s:.40} is no number of 0 or more")
    return float(found)


def flag(values: dict[str, Any], key: str) -> bool:
    if not isinstance(values[key], bool):
        raise ValueError(f"{key}={values[key]!s:.40} is neither true nor false")
    return values[key]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _of(kind: type, value: Any, key: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is a {type(value).__name__}, where a {kind.__name__} is due")
    return value
