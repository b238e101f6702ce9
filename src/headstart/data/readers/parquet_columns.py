"""Which columns of a parquet file hold the pictures, and which their boxes: told from the schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headstart.data.readers import hugging_face_objects as objects
from headstart.data.readers.parquet_files import Head
from headstart.errors import UserError

_PICTURES = ("image", "img", "picture")
_PATHS = ("file_name", "image", "image_path", "path")
_OBJECTS = "objects"
_FURTHER = ("width", "height", "split")
"""Columns of a row, beside the picture and its objects."""


@dataclass(frozen=True)
class Columns:
    """Of one file; equal for all files of a data set."""

    picture: str
    bytes_leaf: str | None
    """None where rows have paths alone."""
    path_leaf: str | None
    holder: str | None
    """The column with all that is said of the objects; None where each thing has a column of its own."""
    classes: str
    """What the classes are called in there."""
    leaves: tuple[str, ...]
    """To be read for everything but the pictures."""

    def __str__(self) -> str:
        return f"{self.picture}, {self.holder or 'boxes'}: {', '.join(self.leaves)}"

    @property
    def of_classes(self) -> str:
        """The column that the classes are in."""
        return self.holder or self.classes

    def path_in(self, row: dict[str, Any]) -> Any:
        """Of the picture, as written; None where there is none."""
        value = row.get(self.picture)
        return value.get("path") if isinstance(value, dict) else value

    def bytes_in(self, row: dict[str, Any]) -> Any:
        value = row.get(self.picture)
        return value.get("bytes") if isinstance(value, dict) else value

    def objects_in(self, row: dict[str, Any]) -> Any:
        """None where nothing is said."""
        said = row.get(self.holder) if self.holder else {key: row[key] for key in objects.ALL if key in row}
        return None if isinstance(said, dict) and all(value is None for value in said.values()) else said


def columns_of(head: Head) -> Columns | None:
    """None where there are no pictures, or no boxes. UserError where there are two of either, or of a strange type."""
    types = {field.name: field.type for field in head.schema}
    picture = _picture(head, types)
    holder = _holder(head, types)
    inside = _fields(types[holder]) if holder else types
    boxes, classes = (objects.first_of(inside, keys) for keys in (objects.BOXES, objects.CLASSES))
    if picture is None or boxes is None or classes is None:
        return None
    bytes_leaf, path_leaf = _leaves_of_picture(picture, types[picture])
    said = [leaf for leaf in head.chunks if _is_said(leaf.split("."), holder)]
    for key in objects.ALL & inside.keys():
        _check_type(head, f"{holder}.{key}" if holder else key, inside[key])
    further = [name for name in _FURTHER if name in types and _is_plain(types[name])]
    leaves = (*said, *further, *filter(None, [path_leaf]))
    return Columns(picture, bytes_leaf, path_leaf, holder, classes, tuple(sorted({*leaves})))


def _is_said(parts: list[str], holder: str | None) -> bool:
    """Whether a leaf tells something of the objects that is read."""
    if holder is None:
        return parts[0] in objects.ALL
    return parts[0] == holder and not objects.ALL.isdisjoint(parts[1:])


def _picture(head: Head, types: dict[str, Any]) -> str | None:
    packed = [name for name, type_ in types.items() if _is_bytes(_fields(type_).get("bytes", type_))]
    named = next((name for name in _PICTURES if name in packed), None)
    if named is None and len(packed) > 1:
        raise UserError(
            f"{head.path}: the columns {', '.join(packed)} hold pictures; keep one of them, or call it image."
        )
    paths = (name for name in _PATHS if name in types and _is_text(types[name]))
    return named or next(iter(packed), None) or next(paths, None)


def _holder(head: Head, types: dict[str, Any]) -> str | None:
    """The column of the objects; None where boxes are in a column of their own, or nowhere."""
    found = [name for name, type_ in types.items() if objects.first_of(_fields(type_), objects.BOXES)]
    if _OBJECTS in found or len(found) == 1:
        return _OBJECTS if _OBJECTS in found else found[0]
    if found:
        raise UserError(f"{head.path}: the columns {', '.join(found)} hold boxes; keep one, or call it {_OBJECTS}.")
    return None


def _leaves_of_picture(name: str, type_: Any) -> tuple[str | None, str | None]:
    """(of its bytes, of its path)."""
    fields = _fields(type_)
    if fields:
        return f"{name}.bytes", f"{name}.path" if "path" in fields else None
    return (name, None) if _is_bytes(type_) else (None, name)


def _check_type(head: Head, name: str, type_: Any) -> None:
    """What it holds in the end must be numbers or text."""
    for inner in _innermost(type_):
        if not _is_plain(inner):
            raise UserError(f"{head.path}: column {name} holds {inner}; it must hold numbers or text.")


def _innermost(type_: Any) -> Iterator[Any]:
    type_ = _item(type_)
    fields = [field.type for field in type_] if _is_struct(type_) else []
    for inner in fields:
        yield from _innermost(inner)
    if not fields:
        yield type_


def _fields(type_: Any) -> dict[str, Any]:
    """Of an object, or of the objects in a list."""
    inner = _item(type_)
    return {field.name: field.type for field in inner} if _is_struct(inner) else {}


def _item(type_: Any) -> Any:
    """What lists hold in the end."""
    from pyarrow import types

    while types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        type_ = type_.value_type
    return type_


def _is_struct(type_: Any) -> bool:
    from pyarrow import types

    return types.is_struct(type_)


def _is_bytes(type_: Any) -> bool:
    from pyarrow import types

    return types.is_binary(type_) or types.is_large_binary(type_)


def _is_text(type_: Any) -> bool:
    from pyarrow import types

    return types.is_string(type_) or types.is_large_string(type_)


def _is_plain(type_: Any) -> bool:
    from pyarrow import types

    number = types.is_integer(type_) or types.is_floating(type_) or types.is_boolean(type_) or types.is_null(type_)
    return number or _is_text(type_)
