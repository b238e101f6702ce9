"""`make bench-predict`: pictures a second of a trained detector on the CPU, against torchvision's own predict loop.

The same weights, pictures (kangaroo's 33 for validation, as files) and sizes on both sides, float32. torchvision's side
is its own RetinaNet around the same body, neck and head, in a loop as its users write it: a picture is opened, turned
into a tensor, and the model called with a list, of one picture and of eight. Headstart's side is
`headstart.load(run).predict(files)`, thresholds and results included; and `headstart predict` as it is typed, which
also writes json, csv, text and drawn pictures, in the precision of the run's validation (bf16 where the processor
computes in it), without the seconds in which Python imports torch. Medians of alternating repeats.

    python benchmarks/predict.py [--repeats 3] [--networks 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import rivals
import torch
from torchvision.transforms.v2.functional import pil_to_tensor

import headstart
from headstart.config.compose import compose
from headstart.config.schema import PredictConfig
from headstart.data.images import FileImage
from headstart.inference.export import load_exported
from headstart.predict.verb import predict
from headstart.run import prepare, run

SIZE = (240, 320)
BATCH = 8
COMMON = ("dataset=kangaroo", "dataset.fraction=0.2", *rivals.sized(SIZE, BATCH), *rivals.PLAIN)
NETWORKS = {"Lite0, FPN-64": ("backbone=efficientnet_lite0",), "ResNet-50, FPN-256": ("backbone=resnet50",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="so many of them, the smallest first")
    arguments = parser.parse_args()
    print("| network | prediction | pictures/s | to torchvision, one by one |")
    print("|---|---|---:|---:|")
    for name, network in list(NETWORKS.items())[: arguments.networks]:
        for line in rows(name, network, arguments.repeats):
            print(line, flush=True)


def rows(name: str, network: tuple[str, ...], repeats: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        model, files = untrained(network, Path(folder)), pictures(network)
        ways = contestants(model, files, Path(folder))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for way in ways.values():  # what is chosen and made once
            way()
        for _ in range(repeats):
            for way, action in ways.items():
                begun = time.perf_counter()
                action()
                seconds[way].append(time.perf_counter() - begun)
    medians = {way: len(files) / statistics.median(found) for way, found in seconds.items()}
    first = next(iter(medians.values()))
    return [f"| {name} | {way} | {here:.1f} | {here / first:.2f} |" for way, here in medians.items()]


def contestants(model: Path, files: Sequence[Path], folder: Path) -> dict[str, Callable[[], object]]:
    detector, exported = load_exported(model)
    rival = rivals.retinanet(detector.to(memory_format=torch.contiguous_format), *SIZE).eval()
    rival.score_thresh = float(exported.model["score_threshold"])
    ours = headstart.load(model, device="cpu", batch_size=BATCH)
    typed = PredictConfig(run=str(model), images=str(files[0].parent), device="cpu", enable_progress_bar=False)
    return {
        "torchvision, one by one": partial(loop, rival, files, 1),
        f"torchvision, batches of {BATCH}": partial(loop, rival, files, BATCH),
        "headstart.load(…).predict": partial(ours.predict, list(files)),
        "headstart predict, all written": partial(whole, typed, folder),
    }


@torch.inference_mode()
def loop(model: torch.nn.Module, files: Sequence[Path], size: int) -> list[dict[str, torch.Tensor]]:
    """As torchvision's users write it."""
    found: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(files), size):
        images = [pil_to_tensor(FileImage(file)()).float() / 255 for file in files[start : start + size]]
        found += model(images)
    return found


def whole(config: PredictConfig, folder: Path) -> None:
    config.output = tempfile.mkdtemp(dir=folder)
    predict(config)


def untrained(network: tuple[str, ...], folder: Path) -> Path:
    """A run's folder."""
    words = ("source=scratch", "strategy=full", "trainer.max_epochs=0", f"output_dir={folder}/source")
    run(compose([*COMMON, *network, *words]))
    (made,) = (folder / "source").glob("*/model.safetensors")
    return made.parent


def pictures(network: tuple[str, ...]) -> list[Path]:
    """Copies of those for validation, in a folder of their own."""
    words = [*COMMON, *network, "source=scratch", "strategy=full"]
    images = prepare(compose(words), show=False).data.data.splits["val"]
    folder = Path(tempfile.mkdtemp())
    copies = [folder / Path(image.name).name for image in images]
    for image, copy in zip(images, copies, strict=True):
        assert isinstance(image.read, FileImage)
        copy.write_bytes(image.read.path.read_bytes())
    return copies


if __name__ == "__main__":
    main()
