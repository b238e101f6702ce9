"""Several processes get the value of one, to the last bit, however the images lie on them.

This file is also the program that the tests start: it measures on two processes what it finds in a folder.
"""

import multiprocessing
import pickle
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from headstart.config.schema import Engine
from headstart.data.sampling import EpochSampler
from headstart.evaluation.coco_map import CocoMeanAveragePrecision

if __name__ == "__main__":
    from lists import update
else:
    from .lists import update

NAMES = ("a", "b", "c", "only detected")
PATIENCE = 20
"""Seconds after which processes that wait for each other are given up."""
engines = pytest.mark.parametrize("engine", list(Engine))


def measure_on_one_rank(rank, folder, engine, rounds):
    """In each round the process takes its share of images and computes; there is no reset in between."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", meeting, timedelta(seconds=PATIENCE), len(rounds[0]), rank)
    metric, results = CocoMeanAveragePrecision(NAMES, engine), []
    for shares in rounds:
        for image in shares[rank]:
            update(metric, [image])
        results.append(metric.compute())
    (folder / f"{rank}.results").write_bytes(pickle.dumps(results))


def measure_on_all_ranks(folder, engine, rounds):
    """Forks: torch is imported once, and nothing has started threads yet."""
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=measure_on_one_rank, args=(rank, folder, engine, rounds)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(2 * PATIENCE)
        process.kill()


def main(folder):
    for work in sorted(folder.glob("*/work")):
        measure_on_all_ranks(work.parent, *pickle.loads(work.read_bytes()))


def sampled(images):
    """Each process's share as the sampler makes it: of an odd number, one image is on both."""
    samplers = [EpochSampler(len(images), seed=0, shuffle=False, rank=rank, world_size=2) for rank in range(2)]
    return [[images[index] for _, index in sampler] for sampler in samplers]


@pytest.fixture(scope="module")
def images(draw):
    return draw(0, num_images=25)


@pytest.fixture(scope="module")
def work(images):
    """Name -> engine, and the images of each process in each round."""
    unequal, one_without = [images[:17], images[17:]], [images, []]
    return {
        **{f"unequal-{engine.name}": (engine, [unequal]) for engine in Engine},
        **{f"one_without-{engine.name}": (engine, [one_without]) for engine in Engine},
        "sampled": (Engine.hotcoco, [sampled(images)]),
        "rounds": (Engine.hotcoco, [[images[:9], images[9:17]], [images[17:], []]]),
    }


@pytest.fixture(scope="module")
def results(work, tmp_path_factory):
    """The results of each process in each round, by the work's name; none from a process that hung."""
    folder = tmp_path_factory.mktemp("processes")
    for name, parts in work.items():
        (folder / name).mkdir()
        (folder / name / "work").write_bytes(pickle.dumps(parts))
    patience = 60 + 2 * PATIENCE * len(work)
    subprocess.run([sys.executable, __file__, str(folder)], check=True, timeout=patience, capture_output=True)
    found = {name: sorted((folder / name).glob("*.results")) for name in work}
    return {name: [pickle.loads(path.read_bytes()) for path in paths] for name, paths in found.items()}


def bits(results):
    """Equal texts are equal bits, NaN included; of the numbers, and of the detections that they are computed from."""
    columns = [{name: column.tobytes() for name, column in vars(result.detections).items()} for result in results]
    return [repr((asdict(result), found)) for result, found in zip(results, columns, strict=True)]


def of_one_process(images, engine=Engine.hotcoco):
    metric = CocoMeanAveragePrecision(NAMES, engine)
    update(metric, images)
    return metric.compute()


@engines
def test_unequal_numbers_of_images_give_the_value_of_one_process_on_every_rank(results, images, engine):
    expected = bits([of_one_process(images, engine)])
    assert [bits(rank) for rank in results[f"unequal-{engine.name}"]] == [expected] * 2


@engines
def test_a_process_without_an_image_gets_the_value_too(results, images, engine):
    expected = bits([of_one_process(images, engine)])
    assert [bits(rank) for rank in results[f"one_without-{engine.name}"]] == [expected] * 2


def test_the_image_that_the_sampler_gives_to_both_counts_once(results, images):
    assert sum(map(len, sampled(images))) == len(images) + 1
    assert [rank[0].images for rank in results["sampled"]] == [len(images)] * 2
    assert [bits(rank) for rank in results["sampled"]] == [bits([of_one_process(images)])] * 2


def test_a_process_that_got_no_image_since_the_last_result_computes_again(results, images):
    expected = bits([of_one_process(images[:17]), of_one_process(images)])
    assert [bits(rank) for rank in results["rounds"]] == [expected] * 2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
