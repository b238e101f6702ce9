"""doctor.json: everything that was found. Its keys are an interface, described in docs/doctor.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstart.config.plain import plain
from headstart.config.schema import DatasetConfig
from headstart.data.types import DatasetInfo
from headstart.doctor.findings import REFUSED, Finding
from headstart.errors import UserError
from headstart.replacing import replacing

SCHEMA_VERSION = 1


def write(
    folder: Path,
    dataset: DatasetConfig,
    findings: Sequence[Finding],
    info: DatasetInfo | None,
    fixed: dict[str, Any] | None,
) -> Path:
    """Its path; UserError where it cannot be written."""
    path = folder / "doctor.json"
    content = {
        "schema_version": SCHEMA_VERSION,
        "headstart": version("headstart"),
        "dataset": plain(dataset),
        "status": status(findings),
        "splits": _splits(info) if info else {},
        "class_names": list(info.class_names) if info else [],
        "findings": [_finding(finding) for finding in findings],
        "fix": fixed,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give another folder, out=…") from None
    return path


def status(findings: Sequence[Finding]) -> str:
    """`refused`, `errors`, or `ok`."""
    if any(finding.kind == REFUSED for finding in findings):
        return "refused"
    return "errors" if any(finding.is_error for finding in findings) else "ok"


def _splits(info: DatasetInfo) -> dict[str, Any]:
    return {
        split: {
            "pictures": count,
            "negatives": info.num_negatives[split],
            "boxes": info.num_boxes[split],
            "ignored": info.num_ignored[split],
            "from": info.splits_from[split],
        }
        for split, count in info.num_images.items()
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity.value,
        "what": finding.what,
        "count": finding.count,
        "training": finding.training,
        "setting": finding.setting,
        "places": [vars(place) for place in finding.places],
    }
