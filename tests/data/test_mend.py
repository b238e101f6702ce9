"""Each fault of a box is named, and each action that the table allows does what it says."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.config.kinds import KINDS, Action
from headstart.config.schema import VocConfig
from headstart.data.images import FileImage
from headstart.data.policy import Policy
from headstart.data.readers import voc
from headstart.data.readers.mend import mend
from headstart.data.readers.raw import RawImage
from headstart.data.readers.seen import Boxes, Seen
from headstart.errors import UserError

GOOD = ("cat", 5, 5, 25, 20)
FAULTS = {
    "empty_box": ("dog", 5, 30, 5, 40),
    "inverted_box": ("dog", 9, 30, 5, 40),
    "not_finite_box": ("dog", 5, 30, "inf", 40),
    "box_outside": ("dog", 70, 30, 80, 40),
    "clipped_box": ("dog", 40, 30, 70, 40),
    "oversized_box": ("dog", -10, 30, 80, 40),
    "tiny_box": ("dog", 5, 30, 6.5, 40),
    "doubled_box": GOOD,
    "box_of_two_classes": ("dog", *GOOD[1:]),
}
"""Kind -> an object that has it, beside `GOOD` in a picture of 64 x 48."""
CLIPPED = {"clipped_box": [40, 30, 64, 40], "oversized_box": [0, 30, 64, 40]}
PAIRS = [(kind, action) for kind in FAULTS for action in KINDS[kind].actions]


def write(path: Path, *objects: tuple) -> None:
    path.parent.mkdir(exist_ok=True)
    PIL.Image.new("RGB", (64, 48), (sum(path.name.encode()) % 256, 0, len(path.parent.name))).save(path)
    corners = ("xmin", "ymin", "xmax", "ymax")
    items = (
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{corner}>{value}</{corner}>" for corner, value in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for name, *box in objects
    )
    path.with_suffix(".xml").write_text(f"<annotation>{''.join(items)}</annotation>")


def read(root: Path, **on: str):
    return voc.read(VocConfig(name="mine", root=str(root), on=on))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "train" / "sound.png", GOOD)
    write(tmp_path / "val" / "v.png", GOOD, ("dog", 1, 1, 9, 9))
    return tmp_path


def test_every_fault_of_a_box_is_tried() -> None:
    """Those of the table that are of single boxes, and seen without other files."""
    of_boxes = {name for name, kind in KINDS.items() if Action.skip_box in kind.actions or "box" in name.split("_")}
    assert of_boxes - FAULTS.keys() <= {
        *("unknown_image", "box_in_first_pixel", "unknown_class", "polygon_line", "malformed_object", "not_shares"),
        *("enclosing_box", "no_box", "out_of_view"),  # which formats of outlines alone have
        "unnamed_image",  # which tables alone have: test_readers_gathered.py
    }


@pytest.mark.parametrize(("kind", "action"), PAIRS, ids=[f"{kind}-{action.value}" for kind, action in PAIRS])
def test_each_action_does_what_it_says(root: Path, kind: str, action: Action) -> None:
    fault = FAULTS[kind]
    write(root / "train" / "odd.png", GOOD, fault)
    if action is Action.error:
        with pytest.raises(UserError, match=rf"(?s)^1 {kind} .*train/odd.xml: object 2: .*dataset\.on\.{kind}="):
            read(root, **{kind: action.value})
        return
    data = read(root, **{kind: action.value})
    images = {image.name: image for image in data.splits["train"]}
    found = [(defect.kind, defect.image, defect.action) for defect in data.defects]
    assert found == [(kind, "train/odd.png", KINDS[kind].done(action))]
    if action is Action.skip_image:
        assert images.keys() == {"train/sound.png"}
    else:
        second = {Action.skip_box: [], Action.clip: [CLIPPED.get(kind)], Action.keep: [[*fault[1:]]]}[action]
        assert images["train/odd.png"].boxes_xyxy.tolist() == [[*GOOD[1:]], *second]


@pytest.mark.parametrize("kind", FAULTS)
def test_without_a_word_the_first_action_of_the_table_is_taken(root: Path, kind: str) -> None:
    write(root / "train" / "odd.png", GOOD, FAULTS[kind])
    silent, chosen = read(root), read(root, **{kind: KINDS[kind].actions[0].value})
    assert silent.defects == chosen.defects
    boxes = [[image.boxes_xyxy.tolist() for image in data.splits["train"]] for data in (silent, chosen)]
    assert boxes[0] == boxes[1]


def test_all_that_is_refused_is_named_at_once(root: Path) -> None:
    for number in range(4):
        write(root / "train" / f"odd{number}.png", GOOD, FAULTS["empty_box"], FAULTS["inverted_box"])
    with pytest.raises(UserError) as refused:
        read(root, empty_box="error", inverted_box="error")
    lines = str(refused.value).splitlines()
    assert [line.split(" (")[0] for line in lines] == ["4 inverted_box", "4 empty_box"]
    assert "odd2.xml: object 2: dog (5, 30, 5, 40); and 1 more. " in lines[1]


def test_what_is_said_of_whole_splits_is_what_a_loop_over_boxes_finds() -> None:
    """Doubles are told by sums of products, a split at a time: against every pair of every picture."""
    rng = np.random.default_rng(3)
    seen, expected = [], set()
    for number in range(40):
        raw = RawImage(Path(), f"{number}.xml")
        for place in range(12):
            low = rng.integers(0, 3, 2)
            raw.add((*low, *(low + rng.integers(5, 7, 2))), str(rng.integers(2)), str(place))
        for later in range(12):
            same = [raw.classes[i] for i in range(later) if raw.boxes_xyxy[i] == raw.boxes_xyxy[later]]
            if same:
                kind = "doubled_box" if raw.classes[later] in same else "box_of_two_classes"
                expected.add((kind, f"{number}.xml: {later}"))
        seen.append(Seen(raw, f"{number}.png", FileImage(Path()), (50, 50), ""))
    policy = Policy()
    _, keep, left_out = mend(Boxes(seen), policy, min_side=2)
    assert len(expected) > 50
    assert {(defect.kind, ": ".join(defect.where.split(": ")[:2])) for defect in policy.defects} == expected
    assert (keep.all(), left_out) == (True, set())
