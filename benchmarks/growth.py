"""`make bench-growth`: what an epoch costs as a data set grows: 1,000, 10,000 and 100,000 pictures, drawn by code.

Pictures of 64 pixels a side with a box each, in COCO's format; `head_only` on EfficientNet-Lite0, one epoch and the
validation of 100 pictures, a process a row: seconds of reading and of the epoch, images a second, and the most memory
that was the process's own (anonymous; pages of a mapped file can be dropped at any time), in MiB and above that of the
smallest set. With the pictures read from their files each time, from a mapped file, and from memory.

    python benchmarks/growth.py [--images 1000 10000 100000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import psutil
import rivals

from headstart.records.record import RunRecord

VALIDATED = 100
CACHES = ("none", "disk", "memory")
MIB = 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "headstart-growth")
    arguments = parser.parse_args()
    print("| pictures | dataset.cache | seconds of the epoch | images/s | own memory, MiB | above the smallest |")
    print("|---:|---|---:|---:|---:|---:|")
    for cache in CACHES:
        smallest = None
        for count in arguments.images:
            record, memory = measured(drawn(arguments.folder / str(count), count), cache)
            smallest = memory if smallest is None else smallest
            speed = record.cost["train_images_per_second"]
            cells = (f"{count:,}", cache, f"{count / speed:.1f}", f"{speed:.0f}", f"{memory:.0f}")
            print(f"| {' | '.join(cells)} | {memory - smallest:.0f} |", flush=True)


def drawn(folder: Path, count: int) -> Path:
    """`train` and `val`, each with its json; once."""
    if not (folder / "val" / "_annotations.coco.json").is_file():
        random = np.random.default_rng(0)
        for split, images in (("train", count), ("val", VALIDATED)):
            draw_split(folder / split, images, random)
    return folder


def draw_split(folder: Path, count: int, random: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        x, y, side = (int(value) for value in random.integers((0, 0, 16), (32, 32, 32)))
        pixels = random.integers(60, 120, (64, 64, 3), dtype=np.uint8)
        pixels[y : y + side, x : x + side] = random.integers(0, 255, 3, dtype=np.uint8)
        (folder / f"{number:06}.jpg").write_bytes(jpeg(pixels))
        images.append({"id": number + 1, "file_name": f"{number:06}.jpg", "width": 64, "height": 64})
        box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
        annotations.append({"id": number + 1, "image_id": number + 1, "category_id": 1, **box})
    described = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(described))


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return file.getvalue()


def measured(folder: Path, cache: str) -> tuple[RunRecord, float]:
    """The run's record, and the MiB of its own memory at most."""
    with tempfile.TemporaryDirectory() as output:
        words = [
            *("dataset=coco_folder", f"dataset.root={folder}", f"dataset.cache={cache}"),
            *("source=imagenet", "strategy=head_only", "trainer.max_epochs=1", "dataset.num_workers=0"),
            *(f"output_dir={output}", *rivals.sized((64, 64), 64), *rivals.PLAIN),
        ]
        command = [sys.executable, "-m", "headstart", "train", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        most = watched(process)
        assert process.returncode == 0, " ".join(command)
        (record,) = Path(output).glob("*/record.json")
        return RunRecord.read(record), most


def watched(process: subprocess.Popen[bytes]) -> float:
    """MiB of anonymous memory at most, looked at five times a second, until it has ended."""
    most = 0.0
    while process.poll() is None:
        try:
            most = max(most, anonymous(process.pid))
        except (FileNotFoundError, ProcessLookupError, psutil.Error):
            continue
        time.sleep(0.2)
    return most / MIB


def anonymous(pid: int) -> float:
    own = psutil.Process(pid).memory_info()
    return own.rss - own.shared


if __name__ == "__main__":
    main()
