"""Detections on a map: GeoJSON that GIS programs lay over the GeoTIFF they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.inference.raster import Raster
from headstart.replacing import replacing


def write_geojson(
    path: Path, picture: Raster, boxes_xyxy: np.ndarray, names: Sequence[str], scores: Sequence[float]
) -> None:
    """A polygon for each detection, the best first, whole or not at all.

    Coordinates are those of the GeoTIFF, which `crs` names (GeoJSON of 2008, which GDAL and QGIS read; RFC 7946 would
    have degrees alone, and no metres). Raises `UserError` where the picture does not lie on a map.
    """
    rings = _rings(picture, boxes_xyxy.astype(np.float64))
    collection = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": picture.facts.crs}},
        "features": [_feature(*one) for one in zip(rings, names, scores, strict=True)],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(collection, indent=1) + "\n", encoding="utf-8")


def _rings(picture: Raster, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 5, 2): closed, and anticlockwise where north is up."""
    corners = boxes_xyxy[:, [[0, 3], [2, 3], [2, 1], [0, 1], [0, 3]]]
    return picture.on_map(corners.reshape(-1, 2)).reshape(-1, 5, 2)


def _feature(ring: np.ndarray, name: str, score: float) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"class": name, "score": round(score, 4)},
        "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
    }
