"""A parquet file of a stranger: what its footer claims is looked at first, and its rows are read a few at a time.

pyarrow decodes it (the extra `parquet`). No type is looked up by a name in the file: what is stored is read as stored.
A page may grow to 2 GB, which is the format's own limit; one picture is on one page.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.errors import UserError

_MAGIC = b"PAR1"
_LFS = b"version https://git-lfs"
_BUFFER_BYTES = 1 << 18
"""Read at once: a column of pictures may have gigabytes."""


@dataclass(frozen=True)
class Head:
    """What the footer says."""

    path: Path
    num_rows: int
    schema: Any
    """pyarrow's."""
    num_values: dict[str, int]
    """Of each leaf: `objects.bbox.list.element.list.element`."""
    num_bytes: dict[str, int]
    """Of each leaf, unpacked."""
    features: Any
    """Of `datasets`, as JSON has them; None where the file has none."""


def look(path: Path) -> Head:
    """UserError where it is no parquet file, or claims more than `limits` allow."""
    with _opened(path) as file, _readable(path):
        footer = file.metadata
        values: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                if min(column.num_values, column.total_uncompressed_size, group.num_rows) < 0:
                    raise ValueError("a size below 0")
                values[column.path_in_schema] += column.num_values
                sizes[column.path_in_schema] += column.total_uncompressed_size
        if len(set(file.schema_arrow.names)) < len(file.schema_arrow.names):
            raise ValueError("two columns of one name")
        if footer.num_rows > limits.ARCHIVE_MEMBERS:
            raise UserError(f"{path}: claims {footer.num_rows:,} rows, and may have {limits.ARCHIVE_MEMBERS:,}.")
        return Head(path, footer.num_rows, file.schema_arrow, dict(values), dict(sizes), _features(file.schema_arrow))


def rows(head: Head, leaves: Sequence[str], at_once: int, most_bytes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 0, column -> value) of each row, of some leaves alone.

    `at_once` rows are in memory, and may take `most_bytes`. UserError where the file cannot be read to its end.
    """
    for leaf in leaves:
        if head.num_values.get(leaf, 0) > limits.PARQUET_VALUES:
            raise UserError(
                f"{head.path}: {leaf} claims {head.num_values[leaf]:,} values, and may have "
                f"{limits.PARQUET_VALUES:,}; divide the file."
            )
    number = 0
    with _opened(head.path) as file:
        with _readable(head.path):
            batches = file.iter_batches(at_once, columns=[*leaves], use_threads=False)
        while found := _next(head, batches, number, most_bytes):
            for row in found:
                yield number, row
                number += 1
    if number != head.num_rows:
        raise UserError(f"{head.path}: holds {number:,} rows and claims {head.num_rows:,}; fetch it again.")


def _next(head: Head, batches: Iterator[Any], number: int, most_bytes: int) -> list[dict[str, Any]]:
    with _readable(head.path):
        batch = next(batches, None)
        if batch is None:
            return []
        if batch.nbytes > most_bytes:
            raise UserError(
                f"{head.path}: rows from {number} on hold {batch.nbytes / limits.MB:,.0f} MB where "
                f"{most_bytes / limits.MB:,.0f} MB are allowed; leave them out."
            )
        return batch.to_pylist()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if find_spec("pyarrow") is None:
        raise UserError(f"{path}: parquet files need the package pyarrow: pip install 'headstart[parquet]'")
    import pyarrow.parquet

    _check_ends(path)
    with _readable(path):
        file = pyarrow.parquet.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            thrift_string_size_limit=limits.FOOTER_BYTES,
            thrift_container_size_limit=limits.FOOTER_ITEMS,
            arrow_extensions_enabled=False,
        )
    with file:
        yield file


def _check_ends(path: Path) -> None:
    """The footer's size stands before the last four letters."""
    if not path.is_file():
        raise UserError(f"{path}: is no file; remove it.")
    with path.open("rb") as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(len(_LFS))
        file.seek(max(0, size - 8))
        end = file.read(8)
    if start == _LFS:
        raise UserError(f"{path}: only names a file of Git LFS; fetch that with `git lfs pull`.")
    footer = int.from_bytes(end[:4], "little")
    if not start.startswith(_MAGIC) or end[4:] != _MAGIC or footer > size - 12:
        raise UserError(f"{path}: not a readable parquet file ({_lacking(start, size)}); fetch it again.")
    if footer > limits.FOOTER_BYTES:
        mb = limits.MB
        raise UserError(f"{path}: its footer has {footer / mb:,.0f} MB and may have {limits.FOOTER_BYTES / mb:,.0f}.")


def _lacking(start: bytes, size: int) -> str:
    if not size:
        return "the file is empty"
    return "its end is missing" if start.startswith(_MAGIC) else "it does not begin as one"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever the bytes provoke, in words."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:  # pyarrow's is one
        why = "it does not fit into memory"
    except Exception as error:  # ArrowException, OSError, UnicodeDecodeError, …
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    else:
        return
    raise UserError(f"{path}: not a readable parquet file ({why}); fetch it again.")


def _features(schema: Any) -> Any:
    """What `datasets` writes into the schema: `{"info": {"features": …}}`."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the features of `datasets` in its schema are no json") from None
    info = content.get("info") if isinstance(content, dict) else None
    return info.get("features") if isinstance(info, dict) else None
