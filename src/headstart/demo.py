"""`python -m headstart.demo`: what transfer is worth, on drawn shapes, in a few minutes on a laptop.

The budget (epochs, images) is in conf/experiment/demo_source.yaml and demo_target.yaml. Further arguments are
overrides for every run, such as `output_dir=…`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.config.compose import compose
from headstart.config.fitting import coco_ssd_here
from headstart.config.resolve import resolved_dict
from headstart.config.schema import RunConfig
from headstart.data.types import Size
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.measured import Run
from headstart.reporting.plots import plot_summary
from headstart.reporting.summary import summarise
from headstart.runs.identity import run_folder
from headstart.say import SafeConsole

OUTPUT = "output_dir=outputs/demo"
ANCHORS = "model.anchor_scale=0.5"
"""The pictures are drawn at 320 x 240 and seen at half of it. Not in the experiments: not every model has anchors."""
NUM_PICTURES = 3
AS_DRAWN = Size(240, 320)
"""In which they are shown, whatever the detectors saw."""
console = SafeConsole(soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class Step:
    """One training of the demo."""

    why: str
    overrides: tuple[str, ...]


FROM_SCRATCH = (
    "From scratch: the target (small shapes on dark, textured ground) has few labels. What do they teach alone?"
)
FULL = "Full fine-tuning: the same images, but starting from the source's weights."
HEAD_ONLY = "Head only: the source's features stay frozen, only the head learns. How much cheaper, at what loss?"
SOURCE = Step(
    "The source: a detector learns large shapes on bright paper, of which there are many labelled images.",
    ("experiment=demo_source", ANCHORS),
)


def targets(target: Sequence[str], source: Sequence[str]) -> tuple[Step, Step, Step]:
    """The baseline, and the ways in which the source's weights are moved to the target."""
    return (
        Step(FROM_SCRATCH, (*target, "source=scratch", "strategy=full")),
        Step(FULL, (*target, *source, "strategy=full")),
        Step(HEAD_ONLY, (*target, *source, "strategy=head_only")),
    )


def demo(extra: Sequence[str] = ()) -> None:
    """Trains what is not yet trained, and shows what came of it. Raises `UserError` where a run fails."""
    steps, done = plan(extra)
    total = done + len(steps)
    runs = [do(f"{number}/{total}", step, extra) for number, step in enumerate(steps, start=done + 1)]
    folder = runs[0][0].parent
    summary = summarise(runs)
    console.rule("what came of it", align="left")
    console.print(summary.as_rich())
    (folder / "summary.md").write_text(summary.as_markdown())
    plot_summary(runs, folder / "summary.png")
    scratch, best_transfer = runs[0], max(runs[1:], key=_map)
    draw_detections(compose([*steps[0].overrides, OUTPUT, *extra]), [scratch, best_transfer], folder)
    console.print(f"""
Pictures: {folder / "summary.png"} (mAP, curves, cost), {folder / "detections.png"} (what the detectors see)
Table:    {folder / "summary.md"}
Each run: {folder}/<run>/record.json and history.csv

Next: your own images.
  headstart train dataset=voc_folder dataset.root=<folder>     (or coco_folder, yolo_folder)
  headstart train --help""")


def plan(extra: Sequence[str]) -> tuple[tuple[Step, Step, Step], int]:
    """What is compared, and how many trainings came before: a real COCO detector is the source where it is installed,
    else one that is trained first."""
    if coco_ssd_here():
        console.print("The source: TensorFlow's SSD, trained on COCO's 118,000 photos; it never saw a drawn shape.")
        return targets(("experiment=demo_coco",), ("source=coco_ssd",)), 0
    source, _ = do("1/4", SOURCE, extra)
    return targets(("experiment=demo_target", ANCHORS), ("source=checkpoint", f"source.path={source}")), 1


def do(number: str, step: Step, extra: Sequence[str]) -> Run:
    """The finished run of `step`, trained by a process of its own where that has not been done yet."""
    overrides = [*step.overrides, OUTPUT, *extra]
    config = compose(overrides)
    folder = run_folder(config, resolved_dict(config))
    console.rule(number, align="left")
    console.print(step.why)
    if _is_finished(folder):
        console.print(f"Done before: {folder}")
        return folder, RunRecord.read(folder / "record.json")
    command = ["headstart", "train", *overrides]
    console.print(f"$ {' '.join(command)}\n")
    result = subprocess.run([sys.executable, "-m", *command], check=False)
    if result.returncode or not _is_finished(folder):
        raise UserError(
            f"The training above stopped with exit code {result.returncode}; the reason stands above, and in "
            f"{folder / 'record.json'}. The demo goes on from there when it is started again."
        )
    return folder, RunRecord.read(folder / "record.json")


def _is_finished(folder: Path) -> bool:
    path = folder / "record.json"
    return path.exists() and RunRecord.read(path).status == "finished"


def _map(run: Run) -> float:
    value = run[1].metrics["val"]["map"]
    return -1.0 if value is None else value


def draw_detections(config: RunConfig, runs: Sequence[Run], folder: Path) -> None:
    """`detections.png`: a row an image, its ground truth, then the surest detections of each of the runs: as many as
    there are objects."""
    import torch

    from headstart.data import catalog
    from headstart.data.boxes import scale_boxes
    from headstart.data.dataset import DetectionDataset
    from headstart.data.info import describe
    from headstart.inference.draw import draw_prediction, draw_truth, grid
    from headstart.inference.export import load_exported

    data = catalog.read(config.dataset, config.seed)
    info = describe(data, config.dataset)
    images, originals = (DetectionDataset(data.splits["val"], size) for size in (info.size, AS_DRAWN))
    detectors = [load_exported(path)[0] for path, _ in runs]
    rows = []
    for index in range(min(NUM_PICTURES, len(images))):
        (seen, _), (pixels, target) = images[index], originals[index]
        ratio_wh = (pixels.shape[2] / seen.shape[2], pixels.shape[1] / seen.shape[1])
        with torch.inference_mode():
            found = [detector.predict([seen])[0] for detector in detectors]
        there = len(target.labels)  # after so short a training scores are low, and say more of order than of sureness
        for one in found:
            one.boxes_xyxy = scale_boxes(one.boxes_xyxy[:there], ratio_wh)
            one.scores, one.labels = one.scores[:there], one.labels[:there]
        pictures = [draw_prediction(pixels, prediction, data.class_names, min_score=0.0) for prediction in found]
        rows.append([draw_truth(pixels, target, data.class_names), *pictures])
    grid(rows, ["ground truth", *map(_title, runs)]).save(folder / "detections.png", optimize=True)


def _title(run: Run) -> str:
    choices = run[1].choices
    return f"source={choices['source']} strategy={choices['strategy']}\nmAP {_map(run):.3f}"


def main() -> None:
    """Exits: 0 done, 1 a run failed, 130 interrupted."""
    try:
        demo(sys.argv[1:])
    except UserError as error:
        print(f"\nheadstart: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted: the demo goes on from there when it is started again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
