"""Names of strangers in the terminal, in CSV and in the report; secrets in records."""

import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import PIL.Image
import pytest
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headstart.compare import compare
from headstart.config.compose import compose
from headstart.config.schema import CompareConfig
from headstart.evaluation.coco_map import MapResult
from headstart.evaluation.show import result_table
from headstart.records.record import RunRecord
from headstart.say import SafeConsole, SafeLines, say
from headstart.transfer.show import plan_table
from headstart.transfer.types import PhasePlan, StagePlan, TransferPlan
from headstart.visible import cell, masked, one_line, visible

from ..reporting.study_records import make_record, write
from ..reporting.test_page import CHROMIUM, needs_browser

EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\"></script>{{7*7}}"
ANSI = "\x1b]0;owned\x07\x1b[2J\u202ecat\r"


def run_headstart(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "140"}
    command = [sys.executable, "-m", "headstart", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_markup_in_a_path_is_shown_and_no_error(capsys):
    say("Finished: outputs/[red]a[/red]/[/nothing]/[link=file:///etc]")
    assert "outputs/[red]a[/red]/[/nothing]/[link=file:///etc]" in capsys.readouterr().out


MARKUP = "[red]a[/red][link=file:///etc]b[/link][/nothing]\\[c]"


def test_markup_in_a_table_is_shown_and_no_error():
    """Rich would refuse `[/nothing]`, after a night of training."""
    nan = float("nan")
    result = MapResult(*[nan] * 7, {MARKUP: nan}, {MARKUP: nan}, 1)
    stage = StagePlan(MARKUP, 1, 1, 0.1, MARKUP)
    plan = TransferPlan(MARKUP, (stage,), (), (PhasePlan("one", 0, frozenset(), frozenset()),), notes=(MARKUP,))
    text = io.StringIO()
    SafeConsole(file=text, width=400).print(result_table(result, MARKUP), plan_table(plan), MARKUP)
    assert text.getvalue().count(MARKUP) == 7


def test_escape_sequences_are_written_out():
    text = io.StringIO()
    table = Table("class")
    table.add_row(ANSI)
    SafeConsole(file=text, width=200).print(table, ANSI)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text.getvalue())
    assert "\\x1b]0;owned" in text.getvalue()
    assert visible("ä\n\tß 🐈") == "ä\n\tß 🐈"
    assert one_line("cat\n0 errors") == "cat\\n0 errors"


def test_text_of_rich_and_lines_of_libraries_pass_the_same_gate(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    text = io.StringIO()
    table = Table("name", title=Text(ANSI))
    table.add_row(Text(ANSI, style="red"))
    console = SafeConsole(file=text, width=200)
    console.print(table, Group(Text(f"{ANSI} hf_abcdefgh")), Padding(Text(ANSI), 1))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text.getvalue())
    assert text.getvalue().count("\\x1b]0;owned") == 4
    assert "hf_abc" not in text.getvalue()
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s %s", (ANSI, "hf_abcdefgh"), None)
    assert SafeLines().format(record) == f"{visible(ANSI)} ***"


@pytest.mark.parametrize("verb", ["doctor", pytest.param("train", marks=pytest.mark.slow)])
def test_no_name_of_a_data_set_reaches_the_terminal_as_it_is(tmp_path, verb):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for number in range(2):
            path = tmp_path / split / f"{number}\x1b]0;owned\x07.png"
            PIL.Image.new("RGB", (64, 48), (90 * number, 9, len(split))).save(path, "png")
            box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>40</xmax><ymax>90</ymax></bndbox>"
            name = f"cat\u202e{split}"
            text = f"<annotation><object><name>{name}</name>{box}</object></annotation>"
            path.with_suffix(".xml").write_text(text)
        (tmp_path / split / "odd\x1b[2J.bmp").write_bytes(b"")
    (tmp_path / "weights.pt").write_bytes(b"")  # training ends there, when the data has been shown
    (tmp_path / "stray\x1b[2J.txt").write_text("")
    words = ["dataset=voc_folder", f"dataset.root={tmp_path}", "dataset.name=x"]
    end = {"doctor": f"out={tmp_path}/out", "train": f"source.path={tmp_path}/weights.pt"}[verb]
    more = ["source=checkpoint", f"output_dir={tmp_path}/out"] if verb == "train" else []
    done = run_headstart(verb, *words, *more, end)
    assert done.returncode == (verb == "train"), done.stderr
    assert "\\x1b" in done.stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", done.stdout + done.stderr)


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
    assert masked("https://me:p@ss@host/a b://x:y@z?m=a@b", {}) == "https://***@host/a b://***@z?m=a@b"
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


ASK = "import wandb; print(wandb.setup().settings.base_url)"
STAGED = "from pathlib import Path; from headstart.wandb_client import stage_beside; stage_beside(Path('out')); "


def test_the_key_of_wandb_goes_to_no_address_of_the_folder_that_a_command_is_given_in(tmp_path):
    """W&B obeys `wandb/settings` there."""
    (tmp_path / "wandb").mkdir()
    file = tmp_path / "wandb/settings"
    alone = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")} | {"HOME": str(tmp_path)}

    def said(script: str, **more: str) -> tuple[str, str]:
        command = [sys.executable, "-P", "-c", script]
        done = subprocess.run(command, cwd=tmp_path, env=alone | more, capture_output=True, text=True, timeout=100)
        return done.stdout.strip(), done.stderr

    file.write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    assert said(ASK)[0] == "http://127.0.0.1:9"  # the attack is a real one
    assert "base_url=http://127.0.0.1:9: W&B obeys" in said(STAGED + ASK)[1]
    assert said(STAGED + ASK, WANDB_BASE_URL="http://127.0.0.1:9")[0] == "http://127.0.0.1:9"  # the user's own
    file.write_text("[default]\nhttps_proxy = http://127.0.0.1:9\n")
    assert "https_proxy=http://127.0.0.1:9: W&B obeys" in said(STAGED + ASK)[1]
    file.write_text("[default]\nproject = mine\nbase_url = https://api.wandb.ai/\n")
    assert said(STAGED + ASK)[0].startswith("https://api.wandb.ai")
