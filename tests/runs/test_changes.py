"""What has changed since a run was begun is said in words, and what cannot change its result is none of it."""

import pytest

from headstart.runs.changes import arithmetic_changes, data_changes, small_changes, source_changes

THEN = {
    "class_names": ["cat", "dog"],
    "fingerprints": {"train": "t", "val": "v"},
    "num_images": {"train": 16, "val": 8},
    "num_boxes": {"train": {"cat": 20, "dog": 10}, "val": {"cat": 5, "dog": 7}},
}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, []),
        ({"num_images": {"train": 1, "val": 1}}, []),  # the fingerprint decides, the numbers explain
        (
            {
                "fingerprints": {"train": "x", "val": "v"},
                "num_images": {"train": 18, "val": 8},
                "num_boxes": {"train": {"cat": 20, "dog": 21}, "val": {"cat": 5, "dog": 7}},
            },
            ["train has 18 images instead of 16 and 41 boxes instead of 30"],
        ),
        ({"fingerprints": {"train": "t", "val": "x"}}, ["val has other pictures or boxes, as many as before"]),
        ({"fingerprints": {"train": "t"}}, ["there is no val split now"]),
        ({"fingerprints": {"train": "t", "val": "v", "test": "n"}}, ["there is a test split now"]),
        ({"class_names": ["dog", "cat"]}, ["the classes stand in another order (dog, cat)"]),
        (
            {"class_names": ["cat", "fox"], "fingerprints": {"train": "a", "val": "b"}},
            ["the classes are others (new: fox; gone: dog)"],
        ),
    ],
)
def test_data(now, expected):
    assert data_changes(THEN, THEN | now) == expected


def test_a_record_that_does_not_say_on_what_it_was_begun_is_not_taken_for_the_same():
    assert data_changes({}, THEN) == ["its record does not say on what data it was begun"]


def test_a_source_is_known_by_its_weights_and_not_by_where_they_lie():
    then = {"digest": "d", "source": "checkpoint", "where": "a"}
    assert source_changes(then, then | {"where": "b"}) == []
    assert source_changes(then, then | {"digest": "e"}) == ["the source checkpoint has other weights (a)"]


HERE = {
    "precision": "32-true",
    "device": "cpu",
    "threads": 2,
    "processor": "x",
    "packages": {"torch": "2", "wandb": "1"},
}


@pytest.mark.parametrize(
    ("now", "error", "note"),
    [
        ({}, [], []),
        ({"precision": "bf16-mixed"}, ["precision 32-true -> bf16-mixed"], []),
        ({"device": "NVIDIA H100"}, ["device cpu -> gpu"], []),
        ({"packages": {"torch": "3", "wandb": "2"}}, ["torch 2 -> 3"], []),
        ({"threads": 1, "processor": "y"}, [], ["threads 2 -> 1", "processor x -> y"]),
    ],
)
def test_arithmetic(now, error, note):
    assert arithmetic_changes(HERE, HERE | now) == error
    assert small_changes(HERE, HERE | now) == note


def test_another_gpu_is_noted_and_no_other_kind():
    then, now = HERE | {"device": "NVIDIA A100"}, HERE | {"device": "NVIDIA H100"}
    assert arithmetic_changes(then, now) == []
    assert small_changes(then, now) == ["device NVIDIA A100 -> NVIDIA H100"]
