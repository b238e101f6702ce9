"""Which files there are below a folder: links, letter case, archives."""

import os
from collections import Counter
from pathlib import Path

import pytest

from headstart.config.checks import dataset_folder
from headstart.config.schema import VocConfig
from headstart.data import catalog
from headstart.data.readers import tree
from headstart.data.readers.layout import Tails
from headstart.errors import UserError
from tests.data.test_readers_voc import CAT, names, read, write


def kinds(found) -> dict[str, int]:
    return dict(Counter(defect.kind for defect in found.defects))


def paths(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in tree.walk(root).files]


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def fill(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)


def test_links_in_circles_end_and_each_file_is_read_once(tmp_path):
    for name in "abcde":
        write(tmp_path, f"v1/{name}.png", f"v1/{name}.xml", CAT)
    link(tmp_path / "latest", "v1")
    link(tmp_path / "v1/up", "..")
    link(tmp_path / "v1/self", ".")
    data = read(tmp_path)
    assert sorted(names(data)["train"] + names(data)["val"]) == [*"abcde"]
    assert sorted((defect.kind, defect.where, defect.action) for defect in data.defects) == [
        ("link_loop", "v1/self -> .", "not followed"),
        ("link_loop", "v1/up -> ..", "not followed"),
        ("repeated_link", "latest -> v1", "read once"),
    ]


def test_many_links_among_siblings_do_not_multiply(tmp_path):
    for here in "abcdefgh":
        fill(tmp_path, f"{here}/{here}.txt")
        for there in "abcdefgh":
            if here != there:
                link(tmp_path / here / f"to_{there}", f"../{there}")
    assert paths(tmp_path) == [f"{name}/{name}.txt" for name in "abcdefgh"]


def test_links_to_files_may_form_the_splits_and_a_picture_of_two_splits_stays_in_both(tmp_path):
    fill(tmp_path, "pool/x.png", "pool/y.png", "pool/z.png")
    for split, name in (("train", "x"), ("train", "y"), ("val", "x")):
        link(tmp_path / split / f"{name}.png", f"../pool/{name}.png")
    assert paths(tmp_path) == ["pool/z.png", "train/x.png", "train/y.png", "val/x.png"]
    assert tree.walk(tmp_path).defects == []


def test_a_folder_may_be_linked_to_where_its_kind_of_files_is_looked_for(tmp_path):
    fill(tmp_path, "pool/x.png", "labels/x.txt")
    link(tmp_path / "images", "pool")
    assert paths(tmp_path) == ["images/x.png", "labels/x.txt"]


def test_links_out_of_the_folder_are_not_followed_and_counted(tmp_path):
    fill(tmp_path, "elsewhere/secret.png", "data/a.png")
    link(tmp_path / "data/more", "../elsewhere")
    link(tmp_path / "data/b.png", "../elsewhere/secret.png")
    link(tmp_path / "data/c.png", str(tmp_path / "elsewhere/secret.png"))
    found = tree.walk(tmp_path / "data")
    assert [path.name for path in found.files] == ["a.png"]
    assert kinds(found) == {"outside_link": 3}
    assert found.defects[0].where == "b.png -> ../elsewhere/secret.png"


def test_the_folder_itself_may_be_a_link(tmp_path):
    fill(tmp_path, "real/train/a.png")
    link(tmp_path / "root", "real")
    assert tree.walk(tmp_path / "root").files == [tmp_path / "root/train/a.png"]


def test_pipes_are_no_files_and_what_is_too_deep_is_said(tmp_path):
    fill(tmp_path, "1/2/3/4/5/6/a.png", "1/2/3/4/5/6/7/b.png")
    os.mkfifo(tmp_path / "c.png")
    assert paths(tmp_path) == ["1/2/3/4/5/6/a.png"]
    assert kinds(tree.walk(tmp_path)) == {"deep_folder": 1}


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("pets.zip", b"PK\x05\x06" + bytes(18), "an archive: unpack it"),
        ("pets.tar", bytes(10240), "an archive: unpack it"),
        ("pets.7z", b"7z", "an archive: unpack it"),
        ("x.json", b"{}", "name the folder that holds the images"),
        ("x.jpg", b"", "name the folder that holds the images"),
    ],
)
def test_a_root_that_is_a_file_is_named_as_what_it_is(tmp_path, file, content, says):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{file} is a file, not a folder.*{says}"):
        dataset_folder(VocConfig(name="x", root=str(tmp_path / file)))


def test_a_folder_that_holds_but_an_archive_says_so(tmp_path):
    fill(tmp_path, "pets.zip")
    with pytest.raises(UserError, match=r"pets\.zip is an archive: unpack it"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data/train/x.jpg", ["train/x.jpg"]),
        ("C:\\old\\train\\x.jpg", ["train/x.jpg"]),
        ("x.jpg", ["train/x.jpg", "val/x.jpg"]),
        ("/content/y.jpg", ["val/y.jpg"]),
        ("train/y.jpg", []),
        ("old/Y.JPG", ["val/y.jpg"]),
        ("..", []),
    ],
)
def test_the_end_of_a_path_finds_what_it_fits_and_no_picture_of_another_split(text, expected):
    files = ["train/x.jpg", "val/x.jpg", "val/y.jpg"]
    assert Tails((tuple(file.split("/")), file) for file in files).find(text) == expected


def test_what_is_read_at_once_is_walked_once_and_looked_at_anew_the_next_time(tmp_path):
    fill(tmp_path, "a/1.txt", "b/2.txt")
    link(tmp_path / "a" / "out", "../b")
    before = tree.walk(tmp_path / "a")
    with tree.kept():
        assert tree.walk(tmp_path / "a") == before
        fill(tmp_path, "a/3.txt")
        assert tree.walk(tmp_path / "a") is tree.walk(tmp_path / "a")
        assert paths(tmp_path / "a") == ["1.txt"]
        within = [path.name for path in tree.walk(tmp_path / "a", within=tmp_path).files]
        assert within == ["1.txt", "3.txt", "2.txt"]
    assert paths(tmp_path / "a") == ["1.txt", "3.txt"]
    with pytest.raises(ZeroDivisionError), tree.kept():
        assert 1 / 0 if tree.walk(tmp_path / "a").files else None
    fill(tmp_path, "a/4.txt")
    assert paths(tmp_path / "a") == ["1.txt", "3.txt", "4.txt"]


def test_a_data_set_is_walked_once_whatever_its_reader_looks_for(tmp_path, monkeypatch):
    for name in "abcde":
        write(tmp_path, f"v1/{name}.png", f"v1/{name}.xml", CAT)
    looked: Counter[Path] = Counter()
    entries = tree._Scan._entries

    def counted(self, folder: Path):
        looked[folder] += 1
        return entries(self, folder)

    monkeypatch.setattr(tree._Scan, "_entries", counted)
    catalog.read(VocConfig(name="x", root=str(tmp_path), val_fraction=0.4), seed=0)
    assert looked == {tmp_path: 1, tmp_path / "v1": 1}
