"""`headstart compare`, from the command line to the files it leaves."""

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.quoting import written_out
from headstart.records.record import read_all
from headstart.reporting.comparison import compare_runs
from headstart.reporting.rows import Question
from headstart.reporting.tables import terminal
from headstart.say import SafeConsole

from .study_records import make_record, write, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


def headstart(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headstart", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_a_bare_folder_is_enough_and_leaves_three_files(study: Path) -> None:
    result = headstart("compare", f"{study}/")
    assert result.returncode == 0, result.stderr
    for name in ("comparison.csv", "comparison_classes.csv", "report.html"):
        assert (study / name).is_file()
        assert f"Written: {study / name}" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_folder_whose_name_needs_quotes_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "Anna's runs, {old} = 1 $x"
    write(folder, *make_record())
    result = headstart("compare", str(folder), f"report_dir={tmp_path / 'report'}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    "words", [["baseline=source=imagenet,strategy=full"], ["group=source,strategy", "baseline='source=imagenet'"]]
)
def test_a_baseline_is_given_without_quotes_for_hydra(study: Path, tmp_path: Path, words: list[str]) -> None:
    result = headstart("compare", f"folder={study}", *words, f"report_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    rows = [row for row in table(tmp_path / "comparison.csv") if row["target"] == "fruit"]
    assert {row["source"] for row in rows} == {"scratch", "imagenet", "noise"}
    assert all("source=imagenet" in row["baseline"] for row in rows)


def test_the_csv_has_all_digits_of_the_records(study: Path, tmp_path: Path) -> None:
    assert headstart("compare", str(study), f"report_dir={tmp_path}").returncode == 0
    records = {path.name: record for path, record in read_all(study)}
    rows = table(tmp_path / "comparison.csv")
    assert len(rows) == 22
    for row in rows:
        members = [records[name] for name in row["folders"].split()]
        assert [str(record.choices["seed"]) for record in members] == row["seeds"].split()
        maps = [record.metrics["val"]["map"] for record in members]
        assert float(row["mean"]) == pytest.approx(sum(maps) / 3, rel=1e-12)
        assert float(row["cpu_seconds"]) == pytest.approx(sum(r.cost["cpu_seconds"] for r in members) / 3, rel=1e-12)
    classes = table(tmp_path / "comparison_classes.csv")
    assert len(classes) == 22 * 3
    apple = next(row for row in classes if row["class"] == "apple" and row["source"] == "scratch")
    values = [records[f"fruit-scratch-full-seed{seed}"].metrics["val"]["per_class"]["apple"] for seed in range(3)]
    assert float(apple["ap"]) == pytest.approx(sum(values) / 3, rel=1e-12)


def printed(folder: Path, width: int = 80, **question: Any) -> str:
    console = SafeConsole(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(terminal(compare_runs(read_all(folder), Question(**question))))
    return console.export_text()


def test_the_terminal_shows_every_part_in_80_columns(study: Path) -> None:
    text = printed(study)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "Use full from imagenet",
        "Open:",
        "negative transfer",
        "transfer gain",
        "still known of the source",
        "labelled images",
        "Source by target",
        "RuntimeError out of <memory>",
        "1 interrupted:",
        "1 not applicable:",
    ):
        assert part in text


def test_the_terminal_names_the_classes_that_transfer_helps_most_and_least_as_they_are(tmp_path: Path) -> None:
    for source in ("scratch", "imagenet"):
        for seed in range(3):
            name, record = make_record(source=source, seed=seed)
            gain = 0.2 if source == "imagenet" else 0.0
            record.metrics["val"]["per_class"] = {"[b]cell[/b]": 0.3 + gain, "plain": 0.3, "[/]": 0.3 - gain / 2}
            write(tmp_path, name, record)
    text = printed(tmp_path)
    assert "[b]cell[/b] +0.20" in text
    assert "[/] -0.10" in text
    assert "harmed" not in text  # three classes, or eighty: none of them is judged


def test_the_terminal_shows_names_of_any_kind_as_they_are(tmp_path: Path) -> None:
    for target in ("[/]one", "[b]two"):
        for source in ("[/x]", "scratch"):
            name, record = make_record(target, source)
            record.config["strategy"]["name"] = record.choices["strategy"] = "[/y]"
            write(tmp_path, name.replace("/", "-"), record)
    text = printed(tmp_path, metric="per_class/thing")
    for name in ("[/]one", "[b]two", "[/x]", "[/y]"):
        assert text.count(name) > 2


def test_a_long_table_is_cut_in_the_terminal_alone_and_says_so(tmp_path: Path) -> None:
    for number in range(27):
        name, record = make_record(ap=0.1 + number / 100, optimizer__lr=(number + 1) * 1e-4)
        write(tmp_path, f"{name}-{number}", record)
    text = printed(tmp_path)
    assert "2 more rows are in comparison.csv and report.html" in text
    assert "0.360" in text
    assert "lr=0.0001 " not in text
    assert headstart("compare", str(tmp_path)).returncode == 0
    assert len(table(tmp_path / "comparison.csv")) == 27


def test_costs_of_different_machines_are_told(tmp_path: Path) -> None:
    write(tmp_path, *make_record(seed=0))
    name, record = make_record(seed=1)
    record.environment = {"processor": "two", "gpus": ["A100"]}
    write(tmp_path, name, record)
    assert "different machines: one; two, A100" in " ".join(printed(tmp_path).split())


def test_a_record_that_cannot_be_read_is_listed_and_the_others_are_compared(tmp_path: Path) -> None:
    write(tmp_path, *make_record(seed=0))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    result = headstart("compare", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "broken: unreadable record" in result.stdout


def test_runs_that_are_no_measurement_are_one_message_and_exit_code_1(tmp_path: Path) -> None:
    write(tmp_path, *make_record(seed=0, trainer__fast_dev_run=True))
    result = headstart("compare", str(tmp_path))
    assert result.returncode == 1
    assert "blood-imagenet-full-seed0: trainer.fast_dev_run=True" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_runs_on_other_images_are_targets_of_their_own_and_all_else_is_shown(tmp_path: Path) -> None:
    for seed in range(2):
        write(tmp_path, *make_record(seed=seed))
    name, other = make_record(seed=2, dataset__root="my/photos")
    other.dataset["evaluation_fingerprint"] = "0123456789abcdef"
    write(tmp_path, name, other)
    result = headstart("compare", str(tmp_path))
    assert result.returncode == 0, result.stderr
    rows = {row["target"]: row["seeds"] for row in table(tmp_path / "comparison.csv")}
    assert rows == {"blood": "0 1", "blood (my/photos)": "2"}
    assert "blood is 2 targets, not compared with each other" in " ".join(result.stdout.split())
    assert "evaluated on different images" in " ".join((tmp_path / "report.html").read_text().split())


def test_a_report_that_cannot_be_written_says_where_else(tmp_path: Path) -> None:
    write(tmp_path, *make_record())
    (tmp_path / "file").write_text("")
    result = headstart("compare", str(tmp_path), f"report_dir={tmp_path / 'file'}")
    assert result.returncode == 1
    assert "report_dir=" in result.stderr


@pytest.mark.parametrize("margin", ["-0.01", "nan", "inf"])
def test_a_margin_that_is_no_loss_is_refused(tmp_path: Path, margin: str) -> None:
    write(tmp_path, *make_record())
    result = headstart("compare", str(tmp_path), f"margin={margin}")
    assert result.returncode == 1
    assert "margin=" in result.stderr
    assert "0 or more, in units of the metric" in result.stderr


def test_words_are_written_out_for_hydra() -> None:
    written = written_out(
        "compare", ["outputs/", "group=a,b", "baseline=source=x", "baseline=null", "metric=map", "--cfg"]
    )
    assert written == [
        "folder='outputs/'",
        "group='a,b'",
        "baseline='source=x'",
        "baseline=null",
        "metric=map",
        "--cfg",
    ]


def test_compare_runs_without_torch(study: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.compare import compare; from headstart.config.schema import CompareConfig\n"
        f"compare(CompareConfig(folder={str(study)!r}, report_dir={str(tmp_path)!r}))\n"
        "print([name for name in ('torch', 'lightning', 'wandb', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


MEASURED = """
import re, resource, sys
from pathlib import Path
sys.argv = ["headstart", "compare", sys.argv[1]]
from headstart.cli import main
main(sys.argv[1:])
used, status = resource.getrusage(resource.RUSAGE_SELF), Path("/proc/self/status")
# ru_maxrss of a new process counts what its parent had; where there is a /proc, that knows better
known = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
peak = int(known[1]) / 1024 if known else used.ru_maxrss / 1024**2
print(used.ru_utime + used.ru_stime, peak)
"""
"""CPU seconds and peak memory (MiB) of the command."""


@pytest.mark.alone
@pytest.mark.slow
def test_a_thousand_records_take_less_than_5_seconds_and_500_mib(tmp_path: Path) -> None:
    """As large as real ones. Measured on one core of a 2-core machine: 1.2 to 2 s of CPU time, 60 MiB.

    CPU time, for it is the same beside other programs."""
    names = [f"backbone.body.blocks.{i}.conv.weight" for i in range(420)]
    for number in range(1000):
        seed, cell = number % 5, number // 5
        target, source, fraction = (
            f"set{cell % 5}",
            ("scratch", "a", "b", "c")[cell // 5 % 4],
            (0.1, 1.0)[cell // 20 % 2],
        )
        name, record = make_record(target, source, "full", seed, fraction, optimizer__lr=1e-3 * (1 + cell // 40))
        record.load = {"loaded": names}
        record.metrics["history"] = [row | {f"lr/{i}": 1e-4 for i in range(14)} for row in record.metrics["history"]]
        write(tmp_path, f"{name}-{number}", record)
    assert all(path.stat().st_size > 25_000 for path in tmp_path.glob("*/record.json"))
    result = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, mib = map(float, result.stdout.splitlines()[-1].split())
    assert len(table(tmp_path / "comparison.csv")) == 200
    assert seconds < 5
    assert 20 < mib < 500
