"""A json read piece by piece holds what `json.loads` finds in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.readers import json_stream
from headstart.data.readers.coco_json import load
from headstart.data.readers.coco_packed import Packed
from headstart.data.readers.json_files import load_parts
from headstart.errors import UserError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ids = st.integers(0, 9) | st.sampled_from([2**53, 2**70, -(2**63), True, 1.0, "1", None])
sides = st.floats() | st.integers(-5, 900) | st.sampled_from([True, "3", None, 2**60])
annotations = st.fixed_dictionaries(
    {"id": ids, "image_id": ids, "category_id": ids, "bbox": st.lists(sides, min_size=3, max_size=5)},
    optional={
        "iscrowd": st.integers(0, 2) | st.sampled_from([True, "0", 0.0]),
        "area": sides,
        "ignore": st.integers(0, 1),
        "difficult": st.integers(0, 1),
    },
)
plain = st.fixed_dictionaries(
    {
        "id": st.integers(0, 10**12),
        "image_id": st.integers(0, 9),
        "category_id": st.integers(0, 9),
        "bbox": st.lists(st.floats(-9, 999), min_size=4, max_size=4),
        "iscrowd": st.integers(0, 1),
        "area": st.floats(0.1, 9e5),
    }
)


def text(value) -> str:
    """Told apart by types as well: 1, 1.0 and true are three texts."""
    return json.dumps(value, sort_keys=True)


@given(
    st.dictionaries(st.text(max_size=5), values, max_size=5),
    st.booleans(),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_any_object_is_read_as_by_json(tmp_path_factory, content, escaped, piece, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(content, ensure_ascii=escaped, indent=indent), encoding="utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE", piece)
        assert text(load_parts(path, lambda key: [])) == text(json.loads(path.read_bytes()))


@pytest.mark.parametrize(
    "written",
    [
        *[b"", b" ", b"{", b"{}", b"{} x", b"[1, 2]", b"3", b'{"a": [1, 2}', b'{"a": [1,]}', b'{"a": 1,}', b'{"a" 1}'],
        *[b"{1: 2}", b'{"a": 12', b'{"a": "\xff"}', b'\xef\xbb\xbf{"a": [1e5]}', '{"a": ["ä"]}'.encode("utf-16")],
        *[b'{"a": ' + b"[" * 100_000, b'{"a": NaN, "b": [-Infinity]}'],
    ],
)
def test_what_is_broken_and_what_is_odd_is_what_json_says_it_is(tmp_path, written):
    path = tmp_path / "a.json"
    path.write_bytes(written)
    try:
        expected = text(json.loads(written))
    except (ValueError, RecursionError):
        with pytest.raises(UserError, match="not a readable json file"):
            load_parts(path, lambda key: [])
    else:
        assert text(load_parts(path, lambda key: [])) == expected


@given(st.lists(annotations | plain | values, max_size=6))
def test_packed_items_are_as_they_were_but_for_keys_that_nobody_reads(items):
    packed = Packed()
    for item in items:
        packed.append({**item, "segmentation": [[1, 2, 3]]} if isinstance(item, dict) else item)
    assert len(packed) == len(items)
    read = ("id", "image_id", "category_id", "bbox", "iscrowd", "area", "difficult", "ignore")
    for found, item in zip(packed, items, strict=True):
        expected = {key: item[key] for key in read if key in item} if isinstance(item, dict) else item
        if not isinstance(expected, dict):
            assert text(found) == text(expected)
        assert text(_as_floats(found)) == text(_as_floats(expected))


def _as_floats(item):
    """Where only whole numbers became floats, which a box's sides are for every reader."""
    if not isinstance(item, dict) or not isinstance(item.get("bbox"), list):
        return item

    def side(value):
        return float(value) if type(value) is int and abs(value) < 2**53 else value

    numbers = {"bbox": [*map(side, item["bbox"])]} | ({"area": side(item["area"])} if "area" in item else {})
    return {**item, **numbers}


@given(st.lists(plain, min_size=1))
def test_what_coco_has_is_in_arrays_alone(items):
    packed = Packed()
    for item in items:
        packed.append(item)
    assert not packed.odd
    assert len(packed.ids) == 3 * len(items)


def test_the_outlines_of_a_json_are_not_kept(tmp_path):
    path = tmp_path / "a.json"
    outline = {"bbox": [1, 2, 3, 4], "segmentation": [[1, 2]]}
    path.write_text(json.dumps({"images": [{"id": 1, "coco_url": "…"}], "annotations": [outline]}))
    content = load(path)
    assert content["images"] == [{"id": 1}]
    assert [*content["annotations"]] == [{"bbox": [1, 2, 3, 4]}]


@pytest.mark.parametrize("written", ['{"a": [1], "a": [2]}', '{"a": [{"b": 1, "b": 2}]}', '{"a": {"b": 1, "b": 2}}'])
def test_a_key_that_stands_twice_is_refused_and_not_chosen_from(tmp_path, written):
    (tmp_path / "a.json").write_text(written)
    with pytest.raises(UserError, match=r"a\.json: not a readable json file \(the key '[ab]' stands twice"):
        load_parts(tmp_path / "a.json", lambda key: [])


outlined = st.tuples(plain, st.sampled_from([{}, {"segmentation": [[1, 2.5]]}, {"segmentation": []}])).map(
    lambda pair: {**pair[0], **pair[1]}
)


@given(st.lists(outlined | annotations | values, min_size=1, max_size=6), st.sampled_from([None, 1]))
def test_a_block_is_kept_as_its_items_are_or_not_at_all(items, indent):
    one, many = Packed(), Packed()
    for item in items:
        one.append(item)
    taken = many.extend_from(json.dumps(items, indent=indent))
    assert (many.ids, many.numbers, many.crowd) == ((one.ids, one.numbers, one.crowd) if taken else (EMPTY))
    assert not (taken and one.odd)


EMPTY = Packed().ids, Packed().numbers, Packed().crowd
SOUND = '{"id": 1, "image_id": 2, "category_id": 3, "bbox": [1, 2, 3.5, 4], "area": 5, "iscrowd": 0%s}'


@pytest.mark.parametrize("more", ["", ', "segmentation": [[1, 2.5, -3e1]]', ', "segmentation": []'])
def test_what_coco_has_is_taken_a_block_at_a_time(more):
    packed = Packed()
    assert packed.extend_from(f"[{SOUND % more}, {SOUND % ''}]")
    assert len(packed) == 2


@pytest.mark.parametrize(
    "more",
    [
        *[', "id": 1', ', "bbox": [1, 2, 3, 4]', ', "\\u0069d": 1', ', "segmentation": [], "segmentation": []'],
        *[', "segmentation": {"a": 1, "a": 2}', ', "segmentation": [{"a": 1}]', ', "ignore": 1', ', "difficult": 0'],
        *[', "segmentation": ' + "[" * 100_000, ', "segmentation": "\\ud800"', ', "segmentation": [1, NaN]', "} "],
    ],
)
def test_what_is_to_be_looked_at_is_not_taken(more):
    packed = Packed()
    assert not packed.extend_from(f"[{SOUND % ''}, {SOUND % more}]")
    assert len(packed) == 0


def test_a_key_that_stands_twice_in_a_large_json_is_refused(tmp_path):
    items = [SOUND % "" for _ in range(100)]
    items[70] = SOUND % ', "area": 6'
    (tmp_path / "a.json").write_text(f'{{"annotations": [{", ".join(items)}]}}')
    with pytest.raises(UserError, match="the key 'area' stands twice"):
        load(tmp_path / "a.json")


def test_where_a_large_json_is_broken_is_said_by_line_and_column(tmp_path):
    items = [SOUND % "" for _ in range(100)]
    items[70] = "{'id': 1}"
    (tmp_path / "a.json").write_text('{"annotations": [\n' + ",\n".join(items) + "]}")
    with pytest.raises(UserError, match="line 72, column 2"):
        load(tmp_path / "a.json")


@given(st.lists(outlined | annotations | values, max_size=9), st.integers(1, 400), st.sampled_from([None, 1]))
def test_a_large_json_is_read_as_its_items_one_by_one(tmp_path_factory, items, piece, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps({"annotations": items, "more": 1}, indent=indent))
    expected = Packed.of(json.loads(path.read_text())["annotations"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE", piece)
        found = Packed.of(load(path)["annotations"])
    assert (found.ids, found.numbers.tobytes(), found.crowd) == (
        expected.ids,
        expected.numbers.tobytes(),
        expected.crowd,
    )
    assert text(list(found.odd.items())) == text(list(expected.odd.items()))
