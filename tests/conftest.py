"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where they are absent."""
    folder = Path(os.environ.get("HEADSTART_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "bccd").is_dir():
        pytest.skip(f"real data sets not found in {folder}: set HEADSTART_DATA to their folder")
    return folder
