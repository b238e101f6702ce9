"""Which row belongs to which class: by name, by the user's word, by a small table; never by a guess."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from headstart.errors import UserError
from headstart.transfer.class_rows import match_classes, normalised

COCO_ROWS = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
VOC_TO_COCO_ID = {
    **{"aeroplane": 5, "bicycle": 2, "bird": 16, "boat": 9, "bottle": 44, "bus": 6, "car": 3, "cat": 17, "chair": 62},
    **{"cow": 21, "diningtable": 67, "dog": 18, "horse": 19, "motorbike": 4, "person": 1, "pottedplant": 64},
    **{"sheep": 20, "sofa": 63, "train": 7, "tvmonitor": 72},
}
"""The twenty classes of VOC in COCO's category ids, which are the rows of torchvision's heads (cocodataset.org)."""


@pytest.mark.parametrize("name", ["Traffic_Light", " traffic  light ", "TRAFFIC-LIGHT", "traffic light"])
def test_names_match_whatever_their_case_and_separators(name):
    assert normalised(name) == "traffic light"


def test_background_and_empty_slots_are_no_classes():
    match = match_classes(["N/A", "background", "__background__", "person"], ["__background__", "person", "N/A", "N/A"])
    assert match.row_of_class == {3: 1}
    assert match.background_row == 0
    assert match.ambiguous == ()


def test_every_voc_class_finds_its_coco_category_among_the_91_slots():
    match = match_classes(list(VOC_TO_COCO_ID), COCO_ROWS)
    assert len(COCO_ROWS) == 91
    assert [match.row_of_class[i] for i in range(20)] == list(VOC_TO_COCO_ID.values())


def test_twenty_coco_classes_find_their_voc_row():
    coco = [name for name in COCO_ROWS if name not in ("__background__", "N/A")]
    match = match_classes(coco, ["__background__", *VOC_TO_COCO_ID])
    found = {coco[i]: row for i, row in match.row_of_class.items()}
    assert found == {COCO_ROWS[category]: row for row, category in enumerate(VOC_TO_COCO_ID.values(), start=1)}


def rows(classes: str, source: str, **aliases: str) -> tuple[dict[str, int], list[str]]:
    """Class -> row, and the ambiguous classes; names separated by commas."""
    names = classes.split(", ")
    match = match_classes(names, source.split(", "), aliases)
    return {names[i]: row for i, row in match.row_of_class.items()}, [names[i] for i in match.ambiguous]


def test_the_same_name_goes_before_the_built_in_alias():
    assert rows("tv", "tvmonitor, tv") == ({"tv": 1}, [])


def test_the_users_alias_goes_before_the_same_name_and_the_built_in_alias():
    assert rows("tv, sofa", "tv, screen, couch, bench", tv="screen", sofa="bench") == ({"tv": 1, "sofa": 3}, [])


def test_an_alias_is_normalised_on_both_sides():
    assert rows("Zebra_Crossing", "Cross-Walk", **{"zebra crossing": "cross walk"}) == ({"Zebra_Crossing": 0}, [])


def test_classes_share_a_row_only_where_the_user_says_so():
    assert rows("rider, walker", "person", rider="person", walker="person") == ({"rider": 0, "walker": 0}, [])
    assert rows("person, walker", "person", walker="person") == ({"person": 0, "walker": 0}, [])


@pytest.mark.parametrize(
    ("classes", "source", "certain", "ambiguous"),
    [
        ("mouse, cat", "mouse, Mouse, cat", {"cat": 2}, ["mouse"]),  # two rows of that name
        ("Mouse, mouse, cat", "mouse, cat", {"cat": 1}, ["Mouse", "mouse"]),  # one row for two classes
        ("Sofa, sofa", "couch", {}, ["Sofa", "sofa"]),  # the same by the table
        ("sofa", "couch, Couch", {}, ["sofa"]),
        ("tv, tvmonitor", "tvmonitor", {"tvmonitor": 0}, ["tv"]),  # the row's own name wins
        ("tv", "tv, TV, tvmonitor", {}, ["tv"]),  # and is not passed over for the table's
        ("tv, TV, tvmonitor", "tv", {}, ["tv", "TV", "tvmonitor"]),
    ],
)
def test_what_would_be_a_guess_stays_new_and_is_listed(classes, source, certain, ambiguous):
    assert rows(classes, source) == (certain, ambiguous)


def test_a_row_that_the_user_gave_away_is_not_guessed_for_another_class():
    assert rows("jet, aeroplane", "airplane", jet="airplane") == ({"jet": 0}, ["aeroplane"])


def test_the_users_alias_settles_what_is_ambiguous_letter_by_letter():
    assert rows("mouse, cat", "mouse, Mouse, cat", mouse="Mouse") == ({"mouse": 1, "cat": 2}, [])
    assert rows("Mouse, mouse", "mouse", mouse="mouse") == ({"mouse": 0, "Mouse": 0}, [])


NAMES = st.lists(st.sampled_from(["tv", "TV", "tvmonitor", "tv-monitor", "sofa", "couch", "Couch", "cat"]), max_size=6)


@given(NAMES, NAMES)
def test_without_aliases_no_row_is_given_twice_and_no_repeated_name_has_one(classes, source):
    match = match_classes(classes, source)
    assert len(set(match.row_of_class.values())) == len(match.row_of_class)
    targets, sources = (Counter(map(normalised, names)) for names in (classes, source))
    for index, row in match.row_of_class.items():
        assert targets[normalised(classes[index])] == sources[normalised(source[row])] == 1
    assert not {*match.ambiguous} & {*match.row_of_class}


@pytest.mark.parametrize(
    ("aliases", "text"),
    [
        (
            {"pedestrain": "person"},
            r"^source\.aliases\.pedestrain=person: the data set has no class 'pedestrain'\. Near: 'Pedestrian'$",
        ),
        ({"car": "persn"}, r"^source\.aliases\.car=persn: the source has no class 'persn'\. Near: 'person'$"),
        ({"car": "zzz"}, r"has no class 'zzz'\. It has: person, mouse, Mouse, truck$"),
        ({"car": "N/A"}, r"the source has no class 'N/A'"),
        ({"car": "__background__"}, r"the source has no class '__background__'"),
        ({"car": "MOUSE"}, r"the source has 2 classes of that name \('mouse', 'Mouse'\).*letter by letter"),
        ({"car": "truck", "Car": "person"}, r"source\.aliases names the class 'car' twice"),
    ],
)
def test_an_alias_that_names_no_class_is_refused_with_what_is_near(aliases, text):
    with pytest.raises(UserError, match=text):
        match_classes(["Pedestrian", "car"], ["__background__", "person", "N/A", "mouse", "Mouse", "truck"], aliases)
