"""A table of images is the images."""

import pickle
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.config.schema import ShapesConfig
from headstart.data import shapes
from headstart.data.dataset import DetectionDataset
from headstart.data.images import FileImage
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, Size

numbers = st.floats(width=64)
names = st.text(st.characters(exclude_characters="\0"), max_size=12)
digests = st.one_of(
    st.just(""), st.binary(min_size=16, max_size=16).map(bytes.hex), st.sampled_from(["mine", "AB" * 16, "ab " * 16])
)
readers = st.one_of(
    st.builds(FileImage, names.map(Path), st.integers(1, 8)),
    st.builds(FileImage, names.map(Path), st.just(6), st.sampled_from([1e9, float("inf")])),
    st.integers(1, 9).map(lambda side: partial(PIL.Image.new, "RGB", (side, side))),
)


@st.composite
def images(draw, reader=readers) -> AnnotatedImage:
    rows = draw(st.lists(st.tuples(*[numbers] * 5, st.integers(0, 2**40), st.booleans(), st.booleans()), max_size=3))
    return AnnotatedImage(
        name=draw(names),
        read=draw(reader),
        size_wh=draw(st.tuples(st.integers(1, 2**40), st.integers(1, 70))),
        boxes_xyxy=np.array([row[:4] for row in rows], dtype=np.float64).reshape(-1, 4),
        labels=np.array([row[5] for row in rows], dtype=np.int64),
        crowd=np.array([row[6] for row in rows], dtype=bool),
        difficult=np.array([row[7] for row in rows], dtype=bool),
        area=np.array([row[4] for row in rows], dtype=np.float64),
        digest=draw(digests),
    )


def exact(image: AnnotatedImage) -> dict[str, object]:
    """Every field, arrays with type, shape and bits."""
    values = {field.name: getattr(image, field.name) for field in fields(image)}
    return {
        name: (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def all_exact(found) -> list[dict[str, object]]:
    return [exact(image) for image in found]


of_files = images(st.builds(FileImage, names.map(Path), st.integers(1, 8)))
lists = st.one_of(st.lists(images(), max_size=6), st.lists(of_files, max_size=6))


@given(lists)
def test_the_elements_are_the_images_bit_for_bit(given_images):
    table = ImageTable.of(given_images)
    assert all_exact(table) == all_exact(given_images)
    assert [*table.names] == [image.name for image in given_images]
    assert table.digests == [image.digest for image in given_images]
    assert bool(table) == bool(given_images)
    for image, made in zip(given_images, table, strict=True):
        assert type(made.read) is type(image.read)
        assert [type(side) for side in made.size_wh] == [int, int]


@given(lists, st.data())
def test_indices_slices_and_what_is_taken_are_those_of_a_list(given_images, data):
    table, count = ImageTable.of(given_images), len(given_images)
    some = data.draw(st.slices(count))
    assert all_exact(table[some]) == all_exact(given_images[some])
    for index in range(-count, count):
        assert exact(table[index]) == exact(given_images[index])
    chosen = data.draw(st.lists(st.integers(0, count - 1), max_size=8)) if count else []
    assert all_exact(table.take(chosen)) == all_exact([given_images[index] for index in chosen])
    for outside in (count, -count - 1):
        with pytest.raises(IndexError):
            table[outside]


@given(lists)
def test_a_table_is_pickled_whole(given_images):
    table = pickle.loads(pickle.dumps(ImageTable.of(given_images)))
    # What reads is another object, and does the same.
    assert [{**exact(i), "read": repr(i.read)} for i in table] == [
        {**exact(i), "read": repr(i.read)} for i in given_images
    ]


def test_a_table_of_a_table_is_itself_and_what_is_done_to_an_element_stays_there():
    table = shapes.draw(ShapesConfig(name="x", domain="source", num_train=4, num_val=1)).splits["train"]
    assert isinstance(table, ImageTable)
    assert ImageTable.of(table) is table
    before = all_exact(table)
    for image in table:
        image.boxes_xyxy[:] = 0
        image.labels[:] = 0
    assert all_exact(table) == before


def test_files_are_kept_as_text_and_anything_else_as_it_is():
    """The index of files holds no object per image: workers that only read it leave its memory shared."""
    image = shapes.draw(ShapesConfig(name="x", domain="source", num_train=1, num_val=1)).splits["train"][0]
    files = [FileImage(Path(f"/a/{number}.jpg"), 1 + number % 8) for number in range(1000)]
    table = ImageTable.of(AnnotatedImage(**{**vars(image), "read": file}) for file in files)
    assert [made.read for made in table] == files
    assert len(pickle.dumps(table)) < 1000 * (len(image.labels) * 50 + 120)


def test_batches_of_a_table_are_those_of_a_list():
    table = shapes.draw(ShapesConfig(name="x", domain="source", num_train=6, num_val=1)).splits["train"]
    one, other = (DetectionDataset(index, Size(60, 80)).__getitems__(range(6)) for index in ([*table], table))
    assert torch.equal(one.images, other.images)
    assert [*one.frames] == [*other.frames]
    assert all(torch.equal(rows, vars(other.targets)[name]) for name, rows in vars(one.targets).items())
