"""report.html of a run: one file that holds what the run's files say, and works in a browser."""

import re
from pathlib import Path

import pytest

from headstart.config.schema import ReportConfig
from headstart.errors import UserError
from headstart.report import report
from headstart.reporting.run_page import CONFUSIONS, matrix, mistakes

from .run_files import make_run, record_of
from .test_page import Reader, data_of, in_browser, needs_browser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs"), wrong_in=(1, 3))
    assert report(ReportConfig(folder=str(folder))) == [folder / "report.html"]
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_loads_nothing_but_what_is_in_it(page: str) -> None:
    assert {re.match(r"data:image/jpeg;base64,|#", source) is not None for source in Reader(page).loads} == {True}
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest", page)


def test_names_of_pictures_and_classes_are_text_and_never_markup(page: str) -> None:
    assert "<i>1" not in page
    assert "&lt;i&gt;1&lt;/i&gt;.jpg" in page
    assert "<b>banana" not in page


def test_the_tables_have_the_numbers_of_the_record_and_of_the_detections(run: Path, page: str) -> None:
    cells = [cell.strip() for cell in Reader(page).cells]
    assert f"{record_of(run).metrics['val']['map']:.3f}" in cells
    wrong_class = cells.index("wrong class")
    assert cells[wrong_class + 1] == "2", "one in each of two pictures"
    assert "background" in cells


def test_phases_are_marked_where_stages_begin_to_train(page: str) -> None:
    assert data_of(page)["phases"] == [[4, "stage1"]]


def test_the_pictures_are_those_with_errors_the_truth_beside_what_was_found(page: str) -> None:
    shown = re.findall(r'<figure class="pictures">.*?</figure>', page, re.DOTALL)
    assert len(shown) == 2
    for picture in shown:
        assert picture.count("<image ") == 1
        assert picture.count("<use ") == 2
        truth, found = picture.split("<use ")[1:]
        assert truth.count('<g class="box') == 2
        assert truth.count("box wrong") == 1, "the missed one"
        assert found.count("box wrong") <= 1


def test_a_run_without_detections_has_a_page_that_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "detections.npz").unlink()
    report(ReportConfig(folder=str(folder)))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "no detections.npz" in page
    assert data_of(page)["map"]


def test_a_folder_of_runs_gets_all_its_pages_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    good, bad = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1)
    (bad / "detections.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=re.escape(str(bad / "detections.npz"))):
        report(ReportConfig(folder=str(tmp_path)))
    assert (good / "report.html").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no record\.json"):
        report(ReportConfig(folder=str(tmp_path)))


def test_of_many_classes_the_commonest_mistakes_are_listed() -> None:
    classes = dict.fromkeys(f"class {i}" for i in range(30))
    found = {"classes": classes, "confusion": [[i, (i + 1) % 31, i + 1] for i in range(30)] + [[0, 0, 99]]}
    assert matrix(found) is None
    rows = list(mistakes(found))
    assert len(rows) == CONFUSIONS
    assert rows[0] == ("class 29", "background", 30)


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_browser_draws_every_plot_and_no_wider_than_the_window(page: str, tmp_path: Path, width: int) -> None:
    script = "document.title = `${document.documentElement.scrollWidth} ${innerWidth}`;"
    drawn = in_browser(page, tmp_path, script, width)
    title = re.search(r"<title>(\d+) (\d+)</title>", drawn)
    assert title is not None
    assert int(title[1]) <= int(title[2])
    plots = dict(re.findall(r'data-plot="(\w+)">(.*?)</figure>', drawn, re.DOTALL))
    assert set(plots) == {"map", "loss", "precision", "calibration", "labels"}
    assert all("<svg" in plot and "NaN" not in plot for plot in plots.values())
