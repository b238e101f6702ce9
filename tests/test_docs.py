"""The pages build: every link among them leads somewhere, every name of the reference exists."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_site_builds_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    mkdocs = pytest.importorskip("mkdocs.commands.build")
    load = pytest.importorskip("mkdocs.config").load_config
    pytest.importorskip("mkdocstrings")
    mkdocs.build(load(str(REPOSITORY / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    pages = {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    built = {path.parent.name for path in (tmp_path / "site").glob("*/index.html")}
    assert pages - built == {"index"}
    text = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "load_exported" in text
    for page in (tmp_path / "site").rglob("*.html"):
        assert 'src="http' not in page.read_text(), page
