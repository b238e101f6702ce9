"""Files made to exhaust memory or time, or to make the reader open or run something: refused by name, at once."""

import os
import resource
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest

from headstart import limits
from headstart.config.schema import CocoConfig, CvatConfig, HuggingFaceConfig, VocConfig, YoloConfig
from headstart.data import download, images
from headstart.data.readers import coco, cvat, hugging_face, voc, yolo
from headstart.errors import UserError


@pytest.fixture(autouse=True)
def _bounded():
    """Neither memory nor time: what grows beyond 1 GB or 15 s of CPU has been taken in."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
    assert time.process_time() - start < 15


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (64, 48), (len(str(path)), 3, 3)).save(path)


def sparse(path: Path, size: int = 5_000_000_000) -> None:
    with path.open("wb") as file:
        file.truncate(size)


LAUGHS = '<!DOCTYPE a [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {new} "{10 * f"&{old};"}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
XML = {
    "billion laughs": LAUGHS + "]><annotation>&i;</annotation>",
    "a local file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file://{}">]><annotation><object><name>&x;</name></object></annotation>',
    "an address": '<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]><annotation>&x;</annotation>',
    "a parameter entity": '<!DOCTYPE a [<!ENTITY % x SYSTEM "file://{}"> %x;]><annotation/>',
    "no such encoding": '<?xml version="1.0" encoding="nothing"?><annotation/>',
}


@pytest.mark.parametrize("attack", XML)
def test_xml_expands_and_fetches_nothing(tmp_path, attack):
    (tmp_path / "passwords").write_text("hunter2")
    picture(tmp_path / "data/a.png")
    (tmp_path / "data/a.xml").write_text(XML[attack].replace("{}", str(tmp_path / "passwords")))
    with pytest.raises(UserError, match=r"a\.xml") as error:
        voc.read(VocConfig(name="v", root=str(tmp_path / "data")))
    assert "hunter2" not in str(error.value)


def test_xml_that_is_deep_ends(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text("<annotation>" + "<a>" * 1_000_000 + "</a>" * 1_000_000 + "</annotation>")
    with pytest.raises(UserError):
        voc.read(VocConfig(name="v", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "why"),
    [("<a/>" * 6_000_000, "6,000,002 tags"), (f"<a {'b=' * 21_000_000}/>", "21,000,000 attributes")],
)
def test_xml_of_millions_of_elements_is_refused_before_they_are_made(tmp_path, text, why):
    picture(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(f"<annotations>{text}</annotations>")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"a\.xml: .*{why}"):
            cvat.read(CvatConfig(name="c", root=str(tmp_path)))
        assert tracemalloc.get_traced_memory()[1] < 60 * limits.MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 1_000_000, "nested too deep"),
        ('{"a":' * 1_000_000, "nested too deep"),
        ('{"images": ' + "1" * 10_000_000 + "}", "json"),
        ('{"images": [], "images": [], "annotations": [], "categories": []}', "'images' stands twice"),
        ('{"images": [{"id": 1, "file_name": "a.png", "file_name": "b.png"}]}', "'file_name' stands twice"),
    ],
)
def test_json_that_is_deep_huge_or_says_two_things(tmp_path, text, why):
    picture(tmp_path / "a.png")
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(UserError, match=why) as error:
        coco.read(CocoConfig(name="c", root=str(tmp_path)))
    assert "train.json" in str(error.value)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("name", ["train.json", "a.xml", "data.yaml", "labels/a.txt"])
def test_a_sparse_file_of_gigabytes_is_not_read_into_memory(tmp_path, name):
    picture(tmp_path / "images/a.png" if name[0] == "l" else tmp_path / "a.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    sparse(tmp_path / name)
    config = {"root": str(tmp_path), "name": "x"}
    read = {"json": lambda: coco.read(CocoConfig(**config)), ".xml": lambda: voc.read(VocConfig(**config))}
    with pytest.raises(UserError):
        read.get(name[-4:], lambda: yolo.read(YoloConfig(**config)))()


YAML = {
    "laughs": "a: &a [lol, lol]\n"
    + "".join(f"{n}: &{n} [{', '.join([f'*{o}'] * 9)}]\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True))
    + "train: t\nnames: *i\n",
    "object": "train: images\nnames: !!python/object/apply:os.system ['touch {}']\n",
    "module": "train: images\nnames: [!!python/object/new:subprocess.Popen [[touch, '{}']]]\n",
    "round": "names: &n [*n]\ntrain: t\n",
    "deep": "names: " + "[" * 100_000,
}


@pytest.mark.parametrize("attack", YAML)
def test_yaml_expands_and_runs_nothing(tmp_path, attack):
    picture(tmp_path / "data/images/a.png")
    (tmp_path / "data/data.yaml").write_text(YAML[attack].replace("{}", str(tmp_path / "ran")))
    with pytest.raises(UserError) as error:
        yolo.read(YoloConfig(name="y", root=str(tmp_path / "data")))
    assert len(str(error.value)) < 2000
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("attack", YAML)
def test_the_yaml_above_a_readme_expands_and_runs_nothing(tmp_path, attack):
    """Its aliases, followed one by one, or merged (`<<`), would take longer than there is time."""
    for stem in ("x", "xx", "xxx"):
        picture(tmp_path / f"data/{stem}.png")
    row = '{"file_name": "%s.png", "objects": {"bbox": [[1, 2, 20, 20]], "categories": [0]}}\n'
    (tmp_path / "data/metadata.jsonl").write_text("".join(row % stem for stem in ("x", "xx", "xxx")))
    laughs = YAML[attack].replace("{}", str(tmp_path / "ran"))
    pairs = zip("abcdef", "bcdefg", strict=True)
    merged = "".join(f"{n}: &{n}\n  <<: [{', '.join([f'*{o}'] * 9)}]\n" for o, n in pairs)
    for text in (laughs, f"{laughs}\nx:\n  names: {{0: *i}}\n", f"a: &a {{x: 1}}\n{merged}"):
        (tmp_path / "data/README.md").write_text(f"---\n{text}\n---\nPets\n")
        data = hugging_face.read(HuggingFaceConfig(name="h", root=str(tmp_path / "data")))
        assert data.class_names == ("0",)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("label", ["1e9", "1e300", "inf", "nan", "-1", "1" * 90_000])
def test_the_number_of_a_class_makes_no_list_of_as_many(tmp_path, label):
    for split in ("train", "val"):
        picture(tmp_path / f"images/{split}/a.png")
        (tmp_path / f"labels/{split}").mkdir(parents=True)
        (tmp_path / f"labels/{split}/a.txt").write_text(f"{label} 0.5 0.5 0.5 0.5\n")
    with pytest.raises(UserError, match=r"a\.txt:1: class .* does not exist"):
        yolo.read(YoloConfig(name="y", root=str(tmp_path)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(kind: bytes, content: bytes, times: int = 1) -> bytes:
    buffer = BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(buffer, "png")
    whole = buffer.getvalue()
    return whole[:33] + chunk(kind, content) * times + whole[33:]


BOMB = zlib.compress(b"\0" * 50_000_000, 9)


@pytest.mark.parametrize(
    "content",
    [
        png_with(b"zTXt", b"a\0\0" + BOMB, 20),
        png_with(b"iTXt", b"a\0\1\0\0\0" + BOMB, 20),
        png_with(b"iCCP", b"a\0\0" + BOMB, 1),
        png_with(b"eXIf", b"MM\0*\0\0\0\x08" + b"\xff" * 4000),
        struct.pack("<2sHII", b"II", 42, 8, 0)[:8] + b"\1\0" + b"\0" * 12 + struct.pack("<I", 8),  # a circle of frames
    ],
    ids=["text", "international text", "colour profile", "exif", "tiff in a circle"],
)
def test_what_is_packed_beside_the_pixels_takes_no_memory(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with suppress(images.UnreadableImage, UserError):
        assert images.inspect(tmp_path / "a.png").raw_size_wh == (8, 8)
        images.FileImage(tmp_path / "a.png")()


def tiff_that_claims(side: int) -> bytes:
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + b"\0" * 4


def patched(kind: str, at: int, claim: bytes) -> bytes:
    """Two frames of one pixel, under another size."""
    buffer = BytesIO()
    frames = [PIL.Image.new("RGB", (1, 1), (number, 0, 0)) for number in (9, 99)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    whole = buffer.getvalue()
    return whole[:at] + claim + whole[at + len(claim) :]


BOMBS = {
    "png": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", BOMB),
    "bmp": struct.pack("<2sIII", b"BM", 99, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 200_000, 200_000, 1, 24, 0, 9, 1, 1, 0, 0),
    "gif": patched("gif", 6, b"\xff" * 4),
    "tiff": tiff_that_claims(200_000),
    "webp": patched("webp", 24, b"\xfe\x3f\0" * 2),
    "ppm": b"P6 200000 200000 255\n",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_the_pixels_that_a_picture_claims_take_no_memory(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(BOMBS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(images.UnreadableImage, match="claims"):
        images.inspect(tmp_path / "a.png", max_pixels=1e8)
    with pytest.raises(UserError, match="claims"):
        images.FileImage(tmp_path / "a.png", max_pixels=1e8)()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("kind", ["gif", "tiff"])
def test_of_many_frames_one_is_read(tmp_path, kind):
    frames = [PIL.Image.new("L", (16, 16), number % 256) for number in range(300)]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
    start = time.monotonic()
    assert images.inspect(tmp_path / f"a.{kind}").raw_size_wh == (16, 16)
    assert images.FileImage(tmp_path / f"a.{kind}")().size == (16, 16)
    assert time.monotonic() - start < 1


def test_a_picture_that_is_a_program_is_not_run(tmp_path, monkeypatch):
    """Pillow gives EPS to Ghostscript, whatever the suffix: here is one that leaves a trace."""
    (tmp_path / "bin").mkdir()
    gs = tmp_path / "bin/gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gs.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(images.UnreadableImage):
        images.inspect(path)
    with pytest.raises(UserError):
        images.FileImage(path)()
    assert not (tmp_path / "ran").exists()


def tar_of(*members: tarfile.TarInfo) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for member in members:
            file.addfile(member, BytesIO(b"\0" * member.size) if member.size else None)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, to, size
    return found


TARS = {
    "up": (member("../evil"),),
    "absolute": (member("{}/evil"),),
    "link": (member("way", tarfile.SYMTYPE, ".."), member("way/evil")),
    "hard link": (member("evil", tarfile.LNKTYPE, "../../private"),),
    "device": (member("evil", tarfile.CHRTYPE),),
    "pipe": (member("evil", tarfile.FIFOTYPE),),
    "bomb": (member("good"), member("evil", size=3_000_000)),
}


@pytest.mark.parametrize("attack", TARS)
def test_a_tar_writes_nothing_outside_and_no_bomb(tmp_path, attack, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_FREE", 1_000_000)
    (tmp_path / "private").write_text("hunter2")
    for item in TARS[attack]:
        item.name = item.name.replace("{}", str(tmp_path))
    (tmp_path / "set.tar").write_bytes(tar_of(*TARS[attack]))
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="not unpacked"):
        download._unpack_one(tmp_path / "set.tar", tmp_path / "new")
    assert [*(tmp_path / "new").iterdir()] == []
    assert {path.name for path in tmp_path.iterdir()} == {"private", "set.tar", "new"}


@pytest.mark.parametrize("name", ["../evil", "/{}/evil", "a/../../evil", "..\\evil", "bomb"])
def test_a_zip_writes_nothing_outside_and_no_bomb(tmp_path, name, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_FREE", 1_000_000)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("good", "")
        file.writestr(name.replace("{}", str(tmp_path)), b"\0" * (3_000_000 if name == "bomb" else 1))
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="not unpacked"):
        download._unpack_one(tmp_path / "set.zip", tmp_path / "new")
    assert [*(tmp_path / "new").iterdir()] == []
    assert {path.name for path in tmp_path.iterdir()} == {"set.zip", "new"}


def test_too_many_members_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_MEMBERS", 3)
    (tmp_path / "set.tar").write_bytes(tar_of(*(member(str(n)) for n in range(4))))
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="4 files"):
        download._unpack_one(tmp_path / "set.tar", tmp_path / "new")
    assert [*(tmp_path / "new").iterdir()] == []


def test_a_pipe_among_the_labels_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    script = "import sys, pathlib, headstart.limits as l; l.read_bytes(pathlib.Path(sys.argv[1]), 9, 'x')"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "pipe.json")], timeout=20, capture_output=True)
    assert b"no file, but a pipe" in done.stderr


def test_pipes_among_the_files_of_a_data_set_do_not_hang(tmp_path):
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    for stem in ("a", "b2", "c33"):
        picture(tmp_path / f"{stem}.png")
        (tmp_path / f"{stem}.xml").write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")
    for suffix in (".png", ".jpg", ".xml", ".txt", ".json", ".jsonl", ".csv", ".yaml", ".zip", ".md"):
        os.mkfifo(tmp_path / f"pipe of {suffix[1:]}{suffix}")
    os.mkfifo(tmp_path / "README.md")
    script = (
        "import sys; from headstart.config import schemas; from headstart.data import catalog\n"
        "for form in schemas.SCHEMAS['dataset']:\n"
        "    if form != 'shapes':\n"
        "        try: str(catalog.read(schemas.SCHEMAS['dataset'][form](name='x', root=sys.argv[1]), 0).unused)\n"
        "        except ValueError as error: print(form, error)\n"
        "    print(form)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "shapes", done.stderr
    assert "voc " not in done.stdout, done.stdout


def test_a_small_file_takes_little_memory_whatever_it_may_have(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"[1]")
    tracemalloc.start()
    try:
        assert limits.read_bytes(path, limits.ANNOTATIONS_BYTES, "a json") == b"[1]"
        assert tracemalloc.get_traced_memory()[1] < limits.MB
    finally:
        tracemalloc.stop()
