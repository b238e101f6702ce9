"""Parquet files in the form that `datasets.push_to_hub` writes, by pyarrow alone."""

import io
import json
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["cat", "dog"]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LISTS = pa.struct(
    [
        ("id", pa.list_(pa.int64())),
        ("area", pa.list_(pa.int64())),
        ("bbox", pa.list_(pa.list_(pa.float32(), 4))),
        ("category", pa.list_(pa.int64())),
    ]
)
_VALUE = {"dtype": "int64", "_type": "Value"}
_LABEL = {"names": NAMES, "_type": "ClassLabel"}
_BOX = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"}
OLD = {"feature": {"id": _VALUE, "area": _VALUE, "bbox": _BOX, "category": _LABEL}, "_type": "Sequence"}
"""Features of `objects` as `datasets` wrote them before version 4: `Sequence({…})`."""
NEW = {key: {"feature": value, "_type": "List"} for key, value in OLD["feature"].items()}
FEATURES = {
    "image_id": _VALUE,
    "image": {"_type": "Image"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "objects": OLD,
}


def png(shade: int, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (shade, 2 * shade % 256, 9)).save(file, "PNG")
    return file.getvalue()


def row(number: int, items: list, content: bytes | None = None, **further) -> dict:
    """`items`: (class, corners)."""
    objects = {
        "id": [10 * number + i for i, _ in enumerate(items)],
        "area": [int((x2 - x1) * (y2 - y1)) for _, (x1, y1, x2, y2) in items],
        "bbox": [[x1, y1, x2 - x1, y2 - y1] for _, (x1, y1, x2, y2) in items],
        "category": [NAMES.index(label) for label, _ in items],
    }
    picture = {"bytes": png(number) if content is None else content, "path": None}
    said = {"image_id": number, "image": picture, "width": 64, "height": 48, "objects": objects}
    return {**said, **further}


def write(path: Path, rows: list[dict], features: dict | None = FEATURES, objects: pa.DataType = LISTS, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = [("image_id", pa.int64()), ("image", IMAGE), ("width", pa.int32()), ("height", pa.int32())]
    said = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    schema = pa.schema([*fields, ("objects", objects)], metadata=said)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, **{"row_group_size": 2, **how})
