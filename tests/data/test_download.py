"""Against a server on this machine that can break off, cannot continue, or lies."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.compose import compose
from headstart.data import catalog, download
from headstart.data.download import Archive
from headstart.errors import UserError

LABEL = (
    b"<annotation><object><name>cat</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>5</ymin>"
    b"<xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"
)
CONTENT = {"annotations/a.xml": b"<annotation/>", "images/a.jpg": bytes(range(256)) * 2000}


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (40, 30), (80 * shade, 40, 90)).save(buffer, "jpeg")
    return buffer.getvalue()


def packed(kind: str, content: dict[str, bytes] = CONTENT) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            for name, data in content.items():
                file.writestr(name, data)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            for name, data in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.break_after: int | None = None
        """Bytes of a body after which the connection is closed."""
        self.ranges = True
        self.asked: list[str | None] = []
        """The Range header of every request."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        whole = self.server.files.get(self.path.strip("/"))
        if whole is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        self.wfile.write(whole[start:][: self.server.break_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


def publish(server: Server, monkeypatch, *files: tuple[str, bytes], checksum: str = "") -> None:
    archives = []
    for name, data in files:
        server.files[name] = data
        known = checksum or f"sha256:{hashlib.sha256(data).hexdigest()}"
        archives.append(Archive(f"http://127.0.0.1:{server.server_port}/{name}", len(data), known))
    monkeypatch.setitem(download.PUBLIC_SETS, "tiny", tuple(archives))


def files_in(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_fetched_checked_and_unpacked_and_nothing_else_is_left(server, monkeypatch, tmp_path, kind):
    other = packed(kind, {"images/b.jpg": b"b"})
    publish(server, monkeypatch, (f"one.{kind}", packed(kind)), (f"two.{kind}", other))
    root = tmp_path / "sets" / "tiny"
    download.fetch("tiny", root)
    assert files_in(root) == {**CONTENT, "images/b.jpg": b"b"}
    assert [path.name for path in root.parent.iterdir()] == ["tiny"]
    download.fetch("tiny", root)
    assert len(server.asked) == 2  # what is there is not fetched again


def test_a_broken_connection_is_continued_where_it_broke(server, monkeypatch, tmp_path):
    data = packed("zip")
    publish(server, monkeypatch, ("one.zip", data))
    server.break_after = 200_000
    download.fetch("tiny", tmp_path / "tiny")
    assert server.asked == [None, "bytes=200000-", "bytes=400000-"]
    assert files_in(tmp_path / "tiny") == CONTENT


def test_an_interrupted_process_is_continued_by_the_next(server, monkeypatch, tmp_path):
    data = packed("zip")
    publish(server, monkeypatch, ("one.zip", data))
    (tmp_path / "tiny.download").mkdir()
    (tmp_path / "tiny.download/one.zip.part").write_bytes(data[:1000])
    download.fetch("tiny", tmp_path / "tiny")
    assert server.asked == ["bytes=1000-"]
    assert files_in(tmp_path / "tiny") == CONTENT


def test_a_server_that_cannot_continue_starts_anew(server, monkeypatch, tmp_path):
    data = packed("zip")
    publish(server, monkeypatch, ("one.zip", data))
    server.ranges = False
    (tmp_path / "tiny.download").mkdir()
    (tmp_path / "tiny.download/one.zip.part").write_bytes(b"x" * 1000)
    download.fetch("tiny", tmp_path / "tiny")
    assert files_in(tmp_path / "tiny") == CONTENT


@pytest.mark.parametrize("checksum", [f"md5:{'0' * 32}", f"sha256:{'0' * 64}"])
def test_a_wrong_checksum_is_refused_and_the_file_removed(server, monkeypatch, tmp_path, checksum):
    publish(server, monkeypatch, ("one.zip", packed("zip")), checksum=checksum)
    with pytest.raises(UserError, match=f"one.zip: has the {checksum[:3]}.* instead of 000"):
        download.fetch("tiny", tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
    assert files_in(tmp_path / "tiny.download") == {}


def test_a_longer_file_is_refused(server, monkeypatch, tmp_path):
    publish(server, monkeypatch, ("one.zip", packed("zip")))
    server.files["one.zip"] += b"more"
    with pytest.raises(UserError, match="bytes instead of"):
        download.fetch("tiny", tmp_path / "tiny")


def test_without_network_the_error_says_which_file_to_put_where(server, monkeypatch, tmp_path):
    data = packed("zip")
    publish(server, monkeypatch, ("one.zip", data))
    server.files.clear()
    place = tmp_path / "tiny.download" / "one.zip"
    with pytest.raises(UserError) as caught:
        download.fetch("tiny", tmp_path / "tiny")
    for part in (
        "one.zip cannot be fetched",
        f"{len(data)} bytes, sha256:",
        f"put it at {place}",
        str(tmp_path / "tiny"),
    ):
        assert part in str(caught.value)
    place.write_bytes(data)
    download.fetch("tiny", tmp_path / "tiny")
    assert files_in(tmp_path / "tiny") == CONTENT


def test_killed_while_unpacking_nothing_is_half_done_and_nothing_is_fetched_again(server, monkeypatch, tmp_path):
    publish(server, monkeypatch, ("one.zip", packed("zip")), ("two.zip", packed("zip", {"images/b.jpg": b"b"})))
    unpack_one = download._unpack_one

    def killed(archive: Path, folder: Path) -> None:
        unpack_one(archive, folder)
        if archive.name == "one.zip":
            (folder / "half.jpg").write_bytes(b"half a file")
            raise KeyboardInterrupt

    monkeypatch.setattr(download, "_unpack_one", killed)
    with pytest.raises(KeyboardInterrupt):
        download.fetch("tiny", tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
    monkeypatch.setattr(download, "_unpack_one", unpack_one)
    download.fetch("tiny", tmp_path / "tiny")
    assert files_in(tmp_path / "tiny") == {**CONTENT, "images/b.jpg": b"b"}
    assert len(server.asked) == 2


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_that_reach_outside_are_refused(server, monkeypatch, tmp_path, kind):
    publish(server, monkeypatch, (f"one.{kind}", packed(kind, {"../../evil.txt": b"evil"})))
    with pytest.raises(UserError, match=r"evil\.txt"):
        download.fetch("tiny", tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
    assert not list(tmp_path.parent.rglob("evil.txt"))


def test_a_full_disk_is_noticed_before_anything_is_fetched(server, monkeypatch, tmp_path):
    archive = Archive(f"http://127.0.0.1:{server.server_port}/huge.zip", 10**18, "md5:0")
    monkeypatch.setitem(download.PUBLIC_SETS, "tiny", (archive,))
    with pytest.raises(UserError, match=r"needs 2000000000\.0 GB"):
        download.fetch("tiny", tmp_path / "tiny")
    assert server.asked == []


def test_pinned_voc_files_are_those_of_torchvision():
    voc = pytest.importorskip("torchvision.datasets.voc").DATASET_YEAR_DICT
    pinned = {
        archive.url.rpartition("/")[2]: archive.checksum
        for name in ("voc2007", "voc2012")
        for archive in download.PUBLIC_SETS[name]
    }
    theirs = [voc[year] for year in ("2007", "2007-test", "2012")]  # the host's name differs among versions
    assert pinned == {file["url"].rpartition("/")[2]: f"md5:{file['md5']}" for file in theirs}


def test_both_years_of_voc_are_one_set_with_the_lists_of_both(server, monkeypatch, tmp_path):
    """16551 = 5011 + 11540 photos in the real one: here one of each year, and one that is tested on."""
    listed = {"trainval": {"VOC2007": "000005", "VOC2012": "2008_000008"}, "test": {"VOC2007": "000001"}}
    archives = []
    for number, (file, year, split) in enumerate(
        (("a.tar", "VOC2007", "trainval"), ("b.tar", "VOC2007", "test"), ("c.tar", "VOC2012", "trainval"))
    ):
        name, base = listed[split][year], f"VOCdevkit/{year}"
        content = {
            f"{base}/ImageSets/Main/{split}.txt": f"{name}\n".encode(),
            f"{base}/Annotations/{name}.xml": LABEL,
            f"{base}/JPEGImages/{name}.jpg": jpeg(number),
        }
        data = packed("tar", content)
        server.files[file] = data
        url = f"http://127.0.0.1:{server.server_port}/{file}"
        archives.append(Archive(url, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"))
    assert [len(download.PUBLIC_SETS[name]) for name in ("voc2007", "voc2012", "voc0712")] == [2, 1, 3]
    monkeypatch.setitem(download.PUBLIC_SETS, "voc0712", tuple(archives))
    config = compose(["dataset=voc0712", f"data_dir={tmp_path}", "dataset.download=true"])
    data = catalog.read(config.dataset, 0)
    names = {split: sorted(Path(image.name).name for image in images) for split, images in data.splits.items()}
    assert names == {"train": ["000005.jpg", "2008_000008.jpg"], "val": ["000001.jpg"]}
