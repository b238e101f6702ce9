"""The comparison shows what runs found: links to their pages, curves, and the pictures on which two arms differ."""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from headstart.compare import compare
from headstart.config.schema import CompareConfig, ReportConfig
from headstart.report import report

from .run_files import PICTURES, make_run
from .study_records import write_study
from .test_page import Reader, data_of, in_browser, needs_browser


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of two seeds: one is wrong in a picture, the other in three."""
    folder = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        make_run(folder, (0, 0), "imagenet", seed)
        make_run(folder, (1, 2, 3), "scratch", seed)
    report(ReportConfig(folder=str(folder)))
    compare(CompareConfig(folder=str(folder)))
    return folder


@pytest.fixture(scope="module")
def page(study: Path) -> str:
    return (study / "report.html").read_text(encoding="utf-8")


def test_every_run_is_linked_to_its_own_page(study: Path, page: str) -> None:
    linked = {unquote(link) for link in Reader(page).links}
    assert linked == {f"{path.parent.name}/report.html" for path in study.glob("*/record.json")}
    assert all((study / link).is_file() for link in linked)


def test_the_pictures_are_those_in_which_the_arms_differ_beside_the_truth(page: str) -> None:
    shown = re.findall(r'<figure class="pictures">.*?</figure>', page, re.DOTALL)
    named = [re.search(r"&gt;(\d)&lt;", picture)[1] for picture in shown]  # type: ignore[index]
    assert sorted(named) == ["0", "1", "2", "3"]
    assert named[0] == "0", "two errors"
    for name, picture in zip(named, shown, strict=True):
        truth, best, other = picture.split("<use ")[1:]
        assert "box wrong" not in truth
        assert ("box wrong" in best) == (name == "0")
        assert ("box wrong" in other) == (name != "0")
    assert "imagenet" in shown[0]
    assert Reader(page).tags.count("image") == 4


def test_an_arms_curve_is_the_mean_of_its_runs(study: Path, page: str) -> None:
    import json

    rows = {row["name"]: row["precision"] for row in data_of(page)["targets"][0]["rows"]}
    for name, source in (("imagenet", "imagenet"), ("scratch", "scratch")):
        runs = [json.loads(path.read_text()) for path in study.glob(f"*-{source}-*/analysis.json")]
        assert rows[name] == pytest.approx(np.mean([run["val"]["precision"]["0.5"] for run in runs], axis=0), abs=1e-4)


def test_an_analysis_that_cannot_be_read_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    for source in ("imagenet", "scratch"):
        make_run(tmp_path, (0,), source)
    report(ReportConfig(folder=str(tmp_path)))
    (broken,) = tmp_path.glob("*-scratch-*/analysis.json")
    broken.write_text('{"version": 1, "val": {"precision": 3}}')
    compare(CompareConfig(folder=str(tmp_path)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{broken} cannot be read" in page
    assert [row["precision"] is None for row in data_of(page)["targets"][0]["rows"]].count(True) == 1


@needs_browser
def test_the_browser_draws_the_arms_curves(page: str, tmp_path: Path) -> None:
    drawn = in_browser(page, tmp_path)
    plot = re.search(r'data-plot="precision">(.*?)</figure>', drawn, re.DOTALL)
    assert plot is not None
    assert {'data-key="imagenet"', 'data-key="scratch"'} <= set(re.findall(r'data-key="\w+"', plot[1]))


@pytest.mark.slow
@needs_browser
def test_five_hundred_runs_stay_below_five_megabytes_and_open_within_two_seconds(tmp_path: Path) -> None:
    write_study(tmp_path / "study", seeds=7)
    write_study(tmp_path / "again", seeds=6)  # the same runs once more: they are counted once
    for source in ("imagenet", "scratch"):
        for seed in range(130):
            make_run(tmp_path / "more", (seed % (PICTURES - 1),), source, seed)
    assert len(list(tmp_path.rglob("record.json"))) > 500
    report(ReportConfig(folder=str(tmp_path / "more")))
    compare(CompareConfig(folder=str(tmp_path)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 5_000_000
    drawn = in_browser(page, tmp_path / "browser", "document.title = performance.now();")
    opened = re.search(r"<title>([\d.]+)</title>", drawn)
    assert opened is not None
    assert float(opened[1]) < 2000
