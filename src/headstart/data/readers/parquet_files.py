"""A parquet file of a stranger: what its footer claims is looked at first, and its rows are read a few at a time.

pyarrow decodes it (the extra `parquet`). No type is looked up by a name in the file: what is stored is read as stored.
A page may grow to 2 GB, which is the format's own limit; one picture is on one page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.data.readers import parquet_footer
from headstart.data.readers.parquet_footer import Chunk
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
    chunks: dict[str, list[Chunk]]
    """Of each leaf, such as `objects.bbox.list.element.list.element`."""
    features: Any
    """Of `datasets`, as JSON has them; None where the file has none."""


def look(path: Path) -> Head:
    """UserError where it is no parquet file, or claims more than `limits` allow."""
    with _opened(path) as (file, claimed), _readable(path):
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
        if len(set(schema.names)) < len(schema.names):
            raise ValueError("two columns of one name")
        if num_rows > limits.ARCHIVE_MEMBERS:
            raise UserError(f"{path}: claims {num_rows:,} rows, and may have {limits.ARCHIVE_MEMBERS:,}.")
        return Head(path, num_rows, schema, claimed, _features(schema))


def rows(head: Head, leaves: Sequence[str], at_once: int, most_bytes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 0, column -> value) of each row, of some leaves alone.

    `at_once` rows are in memory, and may take `most_bytes`. UserError where the file cannot be read to its end.
    """
    number = 0
    with _opened(head.path, leaves) as (file, _):
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
def _opened(path: Path, leaves: Sequence[str] = ()) -> Iterator[tuple[Any, dict[str, list[Chunk]]]]:
    """(pyarrow's file, what its footer claims), held to it as far as `leaves` go."""
    if find_spec("pyarrow") is None:
        raise UserError(f"{path}: parquet files need the package pyarrow: pip install 'headstart[parquet]'")
    import pyarrow.parquet

    claimed = _claims(path, leaves)
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
        yield file, claimed


def _claims(path: Path, leaves: Sequence[str]) -> dict[str, list[Chunk]]:
    """The footer's size stands before the last four letters."""
    if not path.is_file():
        raise UserError(f"{path}: is no file; remove it.")
    with path.open("rb") as file, _readable(path):
        size, start = os.fstat(file.fileno()).st_size, file.read(len(_LFS))
        file.seek(max(0, size - 8))
        end = file.read(8)
        if start == _LFS:
            raise UserError(f"{path}: only names a file of Git LFS; fetch that with `git lfs pull`.")
        length = int.from_bytes(end[:4], "little")
        if not start.startswith(_MAGIC) or end[4:] != _MAGIC or length > size - 12:
            raise ValueError(_lacking(start, size))
        if length > limits.FOOTER_BYTES:
            raise ValueError(f"its footer has {length:,} bytes, and may have {limits.FOOTER_BYTES:,}")
        file.seek(size - 8 - length)
        claimed = parquet_footer.chunks(file.read(length))
        for leaf in leaves:
            if (count := parquet_footer.values(claimed.get(leaf, []))) > limits.PARQUET_VALUES:
                raise UserError(f"{path}: {leaf} claims {count:,} values, and may have {limits.PARQUET_VALUES:,}.")
            parquet_footer.check_pages(file, size, claimed.get(leaf, []))
        return claimed


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
    except (LookupError, TypeError, AttributeError):  # a value of another type than is due
        why = "its footer is damaged"
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
