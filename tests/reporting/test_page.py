"""report.html holds the numbers of the records, needs nothing but itself, and works in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from headstart.compare import compare
from headstart.config.schema import CompareConfig
from headstart.records.record import read_all
from headstart.reporting.statistics import interval_95, mean
from headstart.reporting.tables import value

from .study_records import make_record, write, write_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a study")
    write_study(folder)
    compare(CompareConfig(folder=str(folder)))
    return folder


@pytest.fixture(scope="module")
def page(study: Path) -> str:
    return (study / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """What the page loads or leads to, and the text of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"] or "")
        elif source := found.get("src") or found.get("href"):
            self.loads.append(source)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_the_page_is_one_file_that_loads_nothing(page: str) -> None:
    assert Reader(page).loads == []
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest", page)


def test_every_run_is_linked_and_every_link_leads_to_a_run(study: Path, page: str) -> None:
    linked = {unquote(link) for link in Reader(page).links}
    assert linked == {f"{path.name}/" for path, _ in read_all(study)}
    assert all((study / link).is_dir() for link in linked)


def test_links_lead_from_the_folder_of_the_report_to_the_runs(study: Path, tmp_path: Path) -> None:
    compare(CompareConfig(folder=str(study), report_dir=str(tmp_path / "new" / "place")))
    report = tmp_path / "new" / "place" / "report.html"
    links = Reader(report.read_text(encoding="utf-8")).links
    assert links
    assert all((report.parent / unquote(link) / "record.json").is_file() for link in links)


def test_the_tables_hold_the_means_and_intervals_of_the_records(study: Path, page: str) -> None:
    groups: dict[Any, list[float]] = {}
    for _, record in read_all(study):
        if record.status == "finished":
            key = tuple(word for name, word in record.choices.items() if name != "seed")
            groups.setdefault(key, []).append(record.metrics["val"]["map"])
    cells = [cell.strip() for cell in Reader(page).cells]
    assert len(groups) == 22
    for values in groups.values():
        assert value(mean(values), interval_95(values)) in cells


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_plots_have_every_run_with_its_number_and_its_curve(study: Path, page: str) -> None:
    drawn = {
        unquote(run["href"]).rstrip("/"): run
        for target in data_of(page)["targets"]
        for row in target["rows"]
        for run in row["runs"]
    }
    finished = {path.name: record for path, record in read_all(study) if record.status == "finished"}
    assert set(drawn) == set(finished)
    for name, record in finished.items():
        assert drawn[name]["value"] == pytest.approx(record.metrics["val"]["map"], rel=1e-5)
        assert drawn[name]["cost"] == pytest.approx(record.cost["cpu_seconds"], rel=1e-5)
        history = [[row["epoch"], row["val/map"]] for row in record.metrics["history"]]
        assert drawn[name]["curve"] == [[epoch, pytest.approx(ap, rel=1e-4)] for epoch, ap in history]


def test_names_from_data_are_text_and_never_markup(page: str) -> None:
    assert "b" not in Reader(page.replace("<b>negative", "").replace("<b>0.", "").replace('<b class="worse">', "")).tags
    assert "&lt;b&gt;banana&lt;/b&gt;" in page
    assert "out of &lt;memory&gt;" in page


def test_names_of_any_kind_leave_data_and_links_whole(tmp_path: Path) -> None:
    name = "<!--<script><i>x"
    for folder, source in (("run #1, 50%?", name), ("b", "scratch")):
        write(tmp_path, folder, make_record(source=source)[1])
    compare(CompareConfig(folder=str(tmp_path)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {row["labels"]["source"] for row in data_of(page)["targets"][0]["rows"]} == {name, "scratch"}
    assert "<i>x" not in page
    assert "run%20%231%2C%2050%25%3F/" in Reader(page).links


def test_what_did_not_finish_is_listed_with_its_reason(page: str) -> None:
    text = html.unescape(page)
    for name in ("blood-imagenet-full-seed7", "blood-imagenet-full-seed8", "blood-imagenet-full-seed9"):
        assert f">{name}</a>" in text
    assert "RuntimeError out of <memory>" in text
    assert "not applicable" in text


def test_negative_transfer_is_flagged_where_it_is(study: Path, page: str) -> None:
    rows = re.findall(r'<tr data-row="\d+">.*?</tr>', page, re.DOTALL)
    flagged = [row for row in rows if '<b class="worse">negative transfer</b>' in row]
    assert len(flagged) == 6  # 2 targets, 3 strategies
    assert all("noise" in row for row in flagged)


# ------------------------------------------------------------------------------------------------ in a browser


def in_browser(page: str, folder: Path, script: str = "", width: int = 1280) -> str:
    """The document after its scripts, and then `script`, have run."""
    folder.mkdir(exist_ok=True)
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    command = [CHROMIUM, *flags, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--dump-dom"]
    result = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return result.stdout


@needs_browser
def test_the_browser_draws_every_plot(page: str, tmp_path: Path) -> None:
    drawn = in_browser(page, tmp_path)
    plots = re.findall(r'data-plot="(\w+)">(.*?)</figure>', drawn, re.DOTALL)
    assert [name for name, _ in plots] == ["arms", "cost", "curves", "labels", "arms", "cost", "curves"]
    assert all("<svg" in plot and plot.count('class="mark"') > 5 for _, plot in plots)
    assert "NaN" not in "".join(plot for _, plot in plots)
    fruit = dict(plots[4:])["arms"]
    assert fruit.count("<a ") == 7 * 3  # a point per run that leads to its folder


HIDE = """
document.querySelector('#filter button[title="source=noise"]').click();
"""


@needs_browser
def test_a_filter_takes_its_arms_out_of_plots_and_tables(page: str, tmp_path: Path) -> None:
    drawn = in_browser(page, tmp_path, HIDE)
    figures = "".join(re.findall(r"<figure>.*?</figure>", drawn, re.DOTALL))
    assert 'data-key="imagenet full"' in figures
    assert 'data-key="noise' not in figures
    shown = re.findall(r'<tr data-row="\d+"( hidden="")?>\s*<th>(?:<i.*?></i>)?(\w+)', drawn)
    assert {name for hidden, name in shown if hidden} == {"noise"}
    assert {name for hidden, name in shown if not hidden} == {"imagenet", "scratch"}


POINT = """
const mark = document.querySelector('[data-plot="arms"] a .mark');
mark.dispatchEvent(new PointerEvent('pointerenter', { clientX: 200, clientY: 200 }));
"""


@needs_browser
def test_pointing_at_a_run_says_what_it_is(study: Path, page: str, tmp_path: Path) -> None:
    drawn = in_browser(page, tmp_path, POINT)
    tip = re.search(r'<div id="tip" role="tooltip"[^>]*>(.*?)</div>', drawn, re.DOTALL)
    best = next(r for p, r in read_all(study) if p.name == "blood-imagenet-full-seed0")
    assert tip is not None
    assert tip[1].startswith("imagenet full fraction=1, seed 0")
    assert f"mAP {best.metrics['val']['map']:.3f}" in tip[1]
    assert "CPU time 600 s" in tip[1]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_no_wider_than_the_window(page: str, tmp_path: Path, width: int) -> None:
    script = "document.title = `${document.documentElement.scrollWidth} ${innerWidth}`;"
    title = re.search(r"<title>(\d+) (\d+)</title>", in_browser(page, tmp_path, script, width))
    assert title is not None
    assert int(title[1]) <= int(title[2])


BEYOND = """
const ends = [...document.querySelectorAll('[data-plot="arms"]')].flatMap((plot) => [...plot.querySelectorAll(".name")]
  .map((name) => name.getBoundingClientRect().right - plot.getBoundingClientRect().right));
document.title = `${ends.length} ${Math.max(...ends)}`;
"""


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_name_reaches_out_of_its_plot(page: str, tmp_path: Path, width: int) -> None:
    long = page.replace("imagenet full", "imagenet full " + "min_size=240 " * 10)
    drawn = in_browser(long, tmp_path, BEYOND, width)
    title = re.search(r"<title>(\d+) (\S+)</title>", drawn)
    assert title is not None
    assert int(title[1]) > 5
    assert float(title[2]) <= 0
    assert re.search(r"imagenet full min_size=240 .*…  0\.\d{3}<", drawn)
