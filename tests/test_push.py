"""`headstart push` sends the model and its card, and of the data nothing unless it is told to."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from headstart import cli
from headstart.records.record import RunRecord


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    RunRecord(status="finished").write(folder / "record.json")
    (folder / "README.md").write_text("# a\n\nOne.\n\n![A validation picture](card.jpg)\n\n## Data\n")
    for name in ("model.safetensors", "model.json", "card.jpg", "detections.npz", "history.csv"):
        (folder / name).write_bytes(b"x" * 20_000)
    return folder


class Hub:
    """What huggingface_hub is asked."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []
        self.sent: dict[str, bytes] = {}

    def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
        self.made.append((repo, private))

    def create_commit(self, repo: str, operations, commit_message: str):
        for one in operations:
            held = one.path_or_fileobj
            self.sent[one.path_in_repo] = held if isinstance(held, bytes) else Path(held).read_bytes()
        return SimpleNamespace(repo_url=f"the page of {repo}")


@pytest.fixture
def hub(monkeypatch) -> Hub:
    library = pytest.importorskip("huggingface_hub")
    fake = Hub()
    monkeypatch.setattr(library, "HfApi", lambda: fake)
    return fake


@pytest.fixture
def push(capsys, monkeypatch, run):
    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", "push"])
        code = 0
        try:
            cli.main(
                ["push", f"run={run}", *(words if any(w.startswith("repo=") for w in words) else ("repo=me/a", *words))]
            )
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return code, " ".join((out + err).split())

    return call


def test_the_model_and_the_card_are_sent_and_no_picture_of_the_data(push, hub: Hub) -> None:
    code, said = push()
    assert code == 0
    assert hub.made == [("me/a", True)]
    assert sorted(hub.sent) == ["README.md", "model.json", "model.safetensors"]
    assert b"card.jpg" not in hub.sent["README.md"]
    assert "Not sent: card.jpg, which shows a picture of the validation data" in said
    assert "Sent: the page of me/a" in said


def test_the_picture_goes_where_it_is_asked_for_and_the_card_shows_it(push, hub: Hub) -> None:
    assert "see that you may show it" in push("picture=true", "private=false")[1]
    assert "card.jpg" in hub.sent
    assert b"(card.jpg)" in hub.sent["README.md"]
    assert hub.made == [("me/a", False)]


def test_a_dry_run_lists_what_would_go_without_the_library_and_sends_nothing(push, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, said = push("dry_run=true")
    assert code == 0
    assert "README.md 0.00 MB model.safetensors 0.02 MB model.json 0.02 MB" in said
    assert "nothing was sent" in said
    code, said = push()
    assert code == 1
    assert "pip install 'headstart[hub]'" in said


def test_what_the_hub_refuses_is_one_message(push, hub: Hub, monkeypatch) -> None:
    def refused(*_, **__):
        raise OSError("401 Client Error: Unauthorized\nmore")

    monkeypatch.setattr(hub, "create_repo", refused)
    code, said = push()
    assert code == 1
    assert "took nothing (401 Client Error: Unauthorized). `hf auth login`" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("spoil", "words", "said"),
    [
        ("README.md", (), "there is no README.md in it"),
        ("model.json", (), "there is no model.json in it"),
        ("card.jpg", ("picture=true",), "has no card.jpg"),
        ("", ("repo=kangaroos",), "repo=kangaroos must be <user or organisation>/<name>"),
    ],
)
def test_a_mistake_is_answered_before_anything_is_sent(push, hub: Hub, run: Path, spoil, words, said) -> None:
    if spoil:
        (run / spoil).unlink()
    code, answer = push(*words)
    assert code == 1
    assert said in answer
    assert not hub.made


def test_a_run_that_is_not_finished_is_refused(push, hub: Hub, run: Path) -> None:
    RunRecord(status="failed").write(run / "record.json")
    assert "the run is failed" in push()[1]
    assert not hub.made
