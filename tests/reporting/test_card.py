"""A model card says what the record says, in the form that huggingface.co reads, and obeys no name in it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from headstart.records.record import RunRecord
from headstart.reporting.card import card, licence_of, plain

NETWORK = {
    "model": {"architecture": "retinanet"},
    "backbone": {"name": "efficientnet_lite0", "library": "timm", "architecture": "tf_efficientnet_lite0"},
    "source": {"name": "imagenet", "kind": "imagenet"},
}
RECORD = RunRecord(
    status="finished",
    choices={"strategy": "full"},
    config=NETWORK,
    dataset={
        "name": "zoo",
        "class_names": ["cat", "a|b <script>", "étoile"],
        "num_images": {"train": 40, "val": 10},
        "num_boxes": {"train": {"cat": 55, "a|b <script>": 3, "étoile": 21}, "val": {"cat": 12}},
        "splits_from": {"val": "drawn"},
        "min_size": 240,
        "max_size": 320,
        "resize": "keep",
    },
    metrics={
        "val": {"map": 0.51234, "map_50": 0.8, "map_75": None, "images": 10, "per_class": {"cat": 0.7, "étoile": None}},
        "selection": {"epochs": 12},
    },
    lineage=["imagenet", "zoo"],
    environment={"packages": {"torch": "2.8", "numpy": "2"}},
)


def front_of(text: str) -> dict:
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


def test_the_card_has_the_records_numbers() -> None:
    text = card(RECORD, "zoo-run", {"cat": 0.42}, picture=True)
    assert "| val | 10 | 0.512 | 0.800 | not measured |" in text
    assert "| cat | 0.700 | 55 | 0.42 |" in text
    assert "| étoile | not measured | 21 | 0.50 (none chosen) |" in text
    assert "| train | 40 | 79 | not stated |" in text
    assert "best of 12 epochs" in text
    assert "imagenet → zoo" in text
    assert "Fewer than 20 boxes to learn from: a\\|b &lt;script&gt;." in text
    assert "(card.jpg)" in text
    assert "card.jpg" not in card(RECORD, "zoo-run", {}, picture=False)


def test_the_hub_reads_its_front_matter() -> None:
    hub = pytest.importorskip("huggingface_hub")
    found = hub.ModelCard(card(RECORD, "zoo-run", {}, picture=False)).data
    assert (found.library_name, found.pipeline_tag) == ("headstart", "object-detection")
    results = {one.metric_type: one for one in found.eval_results}
    assert results["map"].metric_value == pytest.approx(0.5123)
    assert (results["map"].dataset_name, results["map"].dataset_split) == ("zoo", "val")
    assert set(results) == {"map", "map_50"}


def test_a_name_makes_no_tag_no_link_no_table_and_no_second_front_matter() -> None:
    names = ["<img src=x>", "[x](http://y)", "a|b", "---\nlicense: mit", "`rm`", "\x1b[2J"]
    told = replace(RECORD, dataset=RECORD.dataset | {"class_names": names, "name": "<b>\n---\n"}, lineage=["![](x)"])
    text = card(told, "<i>", {}, picture=False)
    body = text.split("---\n", 2)[2]
    assert "license" not in front_of(text)
    assert "\x1b" not in text
    for harmful in ("<img", "[x](", "<b>", "<i>", "![](x)", "\n---"):
        assert harmful not in body, harmful
    assert plain("a|b") == "a\\|b"


SOURCES = {
    "imagenet": ({}, "tf_efficientnet_lite0, trained on ImageNet-1k; licence: unknown (the package states none)"),
    "scratch": ({"source": {"name": "scratch", "kind": "scratch"}}, "none: random numbers"),
    "own file": ({"source": {"kind": "imagenet", "path": "x.pth"}}, "a file of the user's; licence not stated"),
    "coco": (
        {
            "source": {"kind": "coco"},
            "backbone": NETWORK["backbone"] | {"library": "torchvision", "architecture": "resnet50"},
        },
        "RetinaNet_ResNet50_FPN_Weights, trained on COCO 2017 train",
    ),
    "gone": ({"source": {"kind": "checkpoint", "path": "nowhere"}}, "another run's; licence not stated"),
    "odd": ({"source": {"kind": "later"}}, "not stated"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_licence_is_the_sources_or_said_not_to_be_stated(name: str) -> None:
    config, expected = SOURCES[name]
    assert expected in licence_of(replace(RECORD, config=NETWORK | config))


def test_the_licence_of_a_run_that_began_with_a_run_is_that_of_the_first(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "record.json")
    config = NETWORK | {"source": {"kind": "checkpoint", "path": str(tmp_path)}}
    assert licence_of(replace(RECORD, config=config)) == f"another run's ({licence_of(RECORD)})"


def test_an_empty_record_has_a_card_all_the_same() -> None:
    assert "not stated" in card(RunRecord(), "empty", {}, picture=False)
