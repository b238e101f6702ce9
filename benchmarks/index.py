"""How long it takes to read the index of a data set as large as COCO's, and what it costs in memory.

118,000 pictures and 860,000 boxes, drawn by code into a folder given (made once, used again): tiny JPEGs, each of its
own bytes, and a json with outlines, as large as COCO's own. Prints a row of a table: seconds, and those of CPU of
all threads together, whatever else the machine does; peak memory of reading and what is above the imports, memory kept
an image, and how much four forked workers add which touch every image.

    python benchmarks/index.py [--folder DIR] [--images 118000] [--boxes 860000]
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import psutil

MIB = 1024**2
CLASSES = 80
WORKERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "headstart-index")
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    parser.add_argument("--draw", action="store_true", help="make the folder, and stop")
    args = parser.parse_args()
    if args.draw:
        return draw(args.folder, args.images, args.boxes)
    if not (args.folder / "annotations").is_dir():
        # A process of its own: what drawing takes is no part of the peak.
        own = multiprocessing.get_context("spawn").Process(target=draw, args=(args.folder, args.images, args.boxes))
        own.start()
        own.join()
    print(measure(args.folder))


def draw(folder: Path, num_images: int, num_boxes: int) -> None:
    """`images/train2017`, and a json of it: the boxes' sizes as COCO's, roughly, and an outline for each."""
    random = np.random.default_rng(0)
    pictures = folder / "images" / "train2017"
    pictures.mkdir(parents=True, exist_ok=True)
    start = io.BytesIO()
    PIL.Image.new("RGB", (640, 480), (90, 120, 60)).save(start, "JPEG", quality=20)
    jpeg = start.getvalue()
    for number in range(num_images):
        comment = number.to_bytes(8, "big")
        (pictures / f"{number:012}.jpg").write_bytes(jpeg[:2] + b"\xff\xfe\x00\x0a" + comment + jpeg[2:])
    (folder / "annotations").mkdir()
    with (folder / "annotations" / "instances_train2017.json").open("w") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for number in range(num_images):
            item = {
                "license": 3,
                "file_name": f"{number:012}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{number:012}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": f"http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z{number}.jpg",
                "id": number + 1,
            }
            file.write((", " if number else "") + json.dumps(item))
        file.write('], "annotations": [')
        outlines = [json.dumps([random.uniform(0, 480, 50).round(2).tolist()]) for _ in range(500)]
        sizes = random.uniform(4, 200, (num_boxes, 2)).round(2)
        corners = (random.uniform(0, 1, (num_boxes, 2)) * ([640, 480] - sizes)).round(2)
        owners, classes = random.integers(1, num_images + 1, num_boxes), random.integers(1, CLASSES + 1, num_boxes)
        for i, (x, y), (w, h), image, label in zip(
            range(num_boxes), corners.tolist(), sizes.tolist(), owners.tolist(), classes.tolist(), strict=True
        ):
            file.write(
                f'{", " if i else ""}{{"segmentation": {outlines[i % 500]}, "area": {w * h / 2:.4f}, "iscrowd": 0, '
                f'"image_id": {image}, "bbox": [{x}, {y}, {w}, {h}], "category_id": {label}, "id": {i + 1}}}'
            )
        file.write('], "categories": ')
        json.dump([{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)], file)
        file.write("}")


def measure(folder: Path) -> str:
    from headstart.config.schema import CocoConfig
    from headstart.data import catalog, info

    config = CocoConfig(name="coco", root=str(folder), val_fraction=0.05)
    before = psutil.Process().memory_info().rss
    started, cpu = time.perf_counter(), time.process_time()
    data = catalog.read(config, seed=0)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    kept = psutil.Process().memory_info().rss - before
    started = time.perf_counter()
    found = info.describe(data, config)
    described = time.perf_counter() - started
    images = sum(found.num_images.values())
    pickled = _pickled(data) / images
    added = _workers(data) / MIB
    return "\n".join(
        [
            f"{images} images, {sum(sum(n.values()) for n in found.num_boxes.values())} boxes, "
            f"fingerprint {found.fingerprint}",
            f"{seconds:.1f} s to read ({cpu:.1f} s of CPU), {described:.1f} s to describe",
            f"{peak / MIB:.0f} MiB at most, of which {before / MIB:.0f} MiB are imports",
            f"{kept / images:.0f} bytes an image kept (resident), {pickled:.0f} bytes an image pickled",
            f"{added:.0f} MiB more in {WORKERS} forked workers that touch every image",
        ]
    )


def _pickled(data) -> int:
    import pickle

    return len(pickle.dumps(data.splits, protocol=5))


def _workers(data) -> int:
    """Bytes of their own that all workers together have after they touched every image, above what they had."""
    context = multiprocessing.get_context("fork")
    grown = context.SimpleQueue()
    workers = [context.Process(target=_touch, args=(data, grown)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    total = sum(grown.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def _touch(data, grown) -> None:
    before = psutil.Process(os.getpid()).memory_full_info().uss
    for images in data.splits.values():
        for image in images:
            assert image.name
            assert image.read
            assert len(image.boxes_xyxy) == len(image.labels)
    grown.put(psutil.Process(os.getpid()).memory_full_info().uss - before)


if __name__ == "__main__":
    main()
