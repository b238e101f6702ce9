"""The user sees plan and report in 80 columns, nothing cut."""

import io

import pytest
from rich.console import Console

from headstart.config.schema import AdamWConfig, Resize, StrategyConfig
from headstart.data.types import Size
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.show import plan_table, report_table
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import PhasePlan, StagePlan, TransferPlan


def printed(table) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_plan_shows_every_stage_its_rate_and_the_notes(tiny, weights_of):
    detector = tiny()
    report = apply_source(detector, weights_of(tiny(seed=1), "imagenet"))
    config = StrategyConfig(name="head_only", freeze_through="neck", lr={"adamw": 1e-3})
    text = printed(plan_table(make_plan(config, AdamWConfig(name="adamw", weight_decay=0.0), detector, report)))
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["stem"] == ["stem", "116", "0", "frozen", "frozen"]
    assert lines["neck"] == ["neck", "88", "88", "0.001", "train"]
    assert lines["all"] == ["all", "1,006", "214"]  # 116 + 228 + 448 + 88 + head 54 + 72
    assert "head_only, 21% of the parameters train" in text
    assert "neck trains although freeze_through=neck: imagenet fills none of it" in " ".join(text.split())


def test_a_large_model_fits_in_80_columns():
    row = StagePlan("stage4", 137_000_000, 137_000_000, 1.2345e-5, "frozen+affine_only+train")
    phase = PhasePlan("start", 0, frozenset(), frozenset())
    text = printed(plan_table(TransferPlan("partial_freeze", (row,), (), (phase,))))
    assert "137,000,000" in text
    assert "1.2345e-05" in text
    assert "frozen+affine_only+train" in text
    assert "…" not in text


def test_the_report_shows_lineage_and_classes(tiny, weights_of):
    source = weights_of(tiny(("A", "b"), seed=1), lineage=("imagenet", "shapes"), where="outputs/run")
    text = printed(report_table(apply_source(tiny(("a", "new")), source), None, Size(240, 320)))
    assert "pictures" not in text
    for part in ("imagenet -> shapes", "outputs/run", "a<-A", "new"):
        assert part in text


SQUARE, KEPT, LARGER = Size(300, 300, Resize.stretch), Size(240, 320), Size(480, 640)
OF_SQUARE, OF_KEPT = "stretched to 300 x 300", "kept in shape, short side 240, long side 320 at most"
REMEDY = "to see shapes as it did: dataset.resize={} dataset.min_size={} dataset.max_size={}"
SAID = {
    (SQUARE, SQUARE): f"{OF_SQUARE}, as here",
    (SQUARE, KEPT): f"{OF_SQUARE}; here {OF_KEPT}; {REMEDY.format('stretch', 300, 300)}",
    (KEPT, SQUARE): f"{OF_KEPT}; here {OF_SQUARE}; {REMEDY.format('keep', 240, 320)}",
    (KEPT, LARGER): f"{OF_KEPT}; here kept in shape, short side 480, long side 640 at most",
}


@pytest.mark.parametrize("sizes", SAID)
def test_the_report_says_of_which_pictures_the_source_learned(sizes, tiny, weights_of):
    report = apply_source(tiny(("a",)), weights_of(tiny(("a",), seed=1)))
    text = " ".join(printed(report_table(report, *sizes)).split())
    assert text.endswith(f"pictures {SAID[sizes]}")
