"""Names of strangers in the terminal, in CSV and in the report; secrets in records."""

import csv
import io
import json
import re
import subprocess
from html.parser import HTMLParser

import pytest
from rich.table import Table

from headstart.compare import compare
from headstart.config.compose import compose
from headstart.config.schema import CompareConfig
from headstart.records.record import RunRecord
from headstart.say import SafeConsole, say
from headstart.visible import cell, masked, one_line, visible

from ..reporting.study_records import make_record, write
from ..reporting.test_page import CHROMIUM, needs_browser

EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\"></script>{{7*7}}"
ANSI = "\x1b]0;owned\x07\x1b[2J\u202ecat\r"


def test_markup_in_a_path_is_shown_and_no_error(capsys):
    say("Finished: outputs/[red]a[/red]/[/nothing]/[link=file:///etc]")
    assert "outputs/[red]a[/red]/[/nothing]/[link=file:///etc]" in capsys.readouterr().out


def test_escape_sequences_are_written_out():
    text = io.StringIO()
    table = Table("class")
    table.add_row(ANSI)
    SafeConsole(file=text, width=200).print(table, ANSI)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text.getvalue())
    assert "\\x1b]0;owned" in text.getvalue()
    assert visible("ä\n\tß 🐈") == "ä\n\tß 🐈"
    assert one_line("cat\n0 errors") == "cat\\n0 errors"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text):
    assert cell(text) == f"'{text}"
    assert [cell(number) for number in ("-0.5", -0.5, "1", "a=b", "-")] == ["-0.5", -0.5, "1", "a=b", "-"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for number, source in enumerate(("scratch", "=cmd|' /C calc'!A0", EVIL)):
        for seed in (0, 1):
            _, record = make_record(EVIL, source, "full", seed)
            record.choices["source"] = record.config["source"]["name"] = source
            write(folder, f"run{number}-{seed}", record)
    failed = make_record(EVIL, "scratch", "head_only", 3)[1]
    failed.status, failed.error = "failed", {"type": "E", "message": EVIL}
    write(folder, "failed", failed)
    compare(CompareConfig(folder=str(folder)))
    return folder


class Parsed(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_report_holds_every_name_as_text(hostile):
    page = (hostile / "report.html").read_text()
    found = Parsed(page)
    assert "img" not in found.tags
    assert found.tags.count("script") == 3
    assert not [name for name in found.attributes if name.startswith("on")]
    assert "owned" in page


@needs_browser
def test_no_name_runs_in_a_browser(hostile, tmp_path):
    assert CHROMIUM
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    page = (hostile / "report.html").as_uri()
    done = subprocess.run([CHROMIUM, *arguments, page], capture_output=True, text=True, timeout=60)
    assert "<svg" in done.stdout
    assert not re.search(r"<title>owned</title>|<img", done.stdout)


def test_no_cell_of_a_comparison_is_a_formula(hostile):
    for name in ("comparison.csv", "comparison_classes.csv"):
        rows = [*csv.reader(io.StringIO((hostile / name).read_text()))]
        for text in (word for row in rows for word in row):
            assert not re.match(r"[=+@\t\r]|-[^\d]", text) or text == "-"


SECRETS = {"WANDB_API_KEY": "wandb-0123456789", "HF_TOKEN": "hf_abcdefgh", "AWS_SECRET_ACCESS_KEY": "aws+/secret=="}


def test_secrets_are_masked_wherever_they_stand():
    text = f"https://me:pass%20word@host/a?x=1&access_token=abc&y=2 {SECRETS['HF_TOKEN']}"
    assert masked({"a": [text]}, SECRETS) == {"a": ["https://***@host/a?x=1&access_token=***&y=2 ***"]}
    assert masked("user@example.org C:\\a x://y/z@2", {"MY_KEY": "short"}) == "user@example.org C:\\a x://y/z@2"


def test_a_record_has_no_secret(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    record = RunRecord(config={"data_dir": f"s3://u:{SECRETS['HF_TOKEN']}@b"}, error={"message": SECRETS["HF_TOKEN"]})
    record.write(tmp_path / "record.json")
    assert not [value for value in SECRETS.values() if value in (tmp_path / "record.json").read_text()]
    assert json.loads((tmp_path / "record.json").read_text())["config"] == {"data_dir": "s3://***@b"}


def test_home_is_expanded_in_what_the_user_types(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    config = compose(["output_dir='~/runs'", "data_dir='~/data'", "study.sources_dir='~/sources'"])
    assert (config.output_dir, config.data_dir, config.study.sources_dir) == (
        "/somewhere/runs",
        "/somewhere/data",
        "/somewhere/sources",
    )
