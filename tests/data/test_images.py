import contextlib
import hashlib
import io
import pickle
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from headstart.data import images
from headstart.data.images import FileImage, UnreadableImage
from headstart.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def pixels(path: Path, orientation: int = 1) -> np.ndarray:
    image = FileImage(path, orientation)()
    assert image.mode == "RGB"
    return np.asarray(image)


def with_exif(path: Path, orientation: int) -> Path:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(NOISE).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    path = with_exif(tmp_path / "a.png", orientation)
    facts = images.inspect(path)
    assert facts.orientation == orientation
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(path))
    np.testing.assert_array_equal(pixels(path, facts.orientation), np.asarray(expected))
    assert images.upright_size(facts.raw_size_wh, orientation) == expected.size


@pytest.mark.parametrize("orientation", [0, 9, 100])
def test_invalid_orientations_are_ignored(tmp_path, orientation):
    assert images.inspect(with_exif(tmp_path / "a.jpg", orientation)).orientation == 1


@pytest.mark.parametrize(
    ("annotated", "orientation", "applied"),
    [
        ((40, 30), 6, 1),  # annotated as stored
        ((30, 40), 6, 6),  # annotated upright
        (None, 6, 6),  # unknown: as viewers do
        ((7, 7), 6, 6),
        ((40, 30), 3, 3),  # upside down: the size cannot tell
    ],
)
def test_the_annotated_size_tells_whether_to_turn(tmp_path, annotated, orientation, applied):
    facts = images.inspect(with_exif(tmp_path / "a.jpg", orientation))
    assert images.choose_orientation(facts, annotated) == applied


def test_transparent_pixels_become_white_and_half_transparent_ones_half_white(tmp_path):
    PIL.Image.fromarray(np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 51]]], np.uint8)).save(
        tmp_path / "a.png"
    )
    # 51 / 255 = 0.2 of black on white: 204
    assert pixels(tmp_path / "a.png").tolist() == [[[255, 255, 255], [200, 0, 0], [204, 204, 204]]]


def test_palette_grey_and_16_bit_images_become_rgb(tmp_path):
    palette = PIL.Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    assert pixels(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    palette.save(tmp_path / "clear.png", transparency=1)
    assert pixels(tmp_path / "clear.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]
    PIL.Image.fromarray(np.array([[7, 200]], np.uint8)).save(tmp_path / "grey.png")
    assert pixels(tmp_path / "grey.png").tolist() == [[[7] * 3, [200] * 3]]
    PIL.Image.fromarray(np.array([[0x0100, 0xFFFF]], np.uint16)).save(tmp_path / "deep.png")
    assert pixels(tmp_path / "deep.png").tolist() == [[[1] * 3, [255] * 3]]


def test_a_png_named_jpg_is_read(tmp_path):
    PIL.Image.fromarray(NOISE).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), NOISE)
    assert images.inspect(tmp_path / "a.jpg").raw_size_wh == (40, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_found_without_reading_the_image(tmp_path, kind, share):
    buffer = io.BytesIO()
    large = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    PIL.Image.fromarray(large).save(buffer, kind)
    path = tmp_path / "a.img"
    path.write_bytes(buffer.getvalue())
    assert images.inspect(path).raw_size_wh == (300, 200)
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])
    with pytest.raises(UnreadableImage):
        images.inspect(path)


def test_padding_behind_the_end_of_a_jpeg_is_no_defect(tmp_path):
    PIL.Image.fromarray(NOISE).save(tmp_path / "a.jpg")
    for padding in (b"\0" * 500, b"camera trailer" * 200):
        with (tmp_path / "a.jpg").open("ab") as file:
            file.write(padding)
        assert images.inspect(tmp_path / "a.jpg").raw_size_wh == (40, 30)


def test_float_pixels_and_text_are_no_images(tmp_path):
    PIL.Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    (tmp_path / "b.jpg").write_text("not an image")
    for name, reason in (("a.tif", "floats of unknown range"), ("b.jpg", "no picture of a known format")):
        with pytest.raises(UnreadableImage, match=reason):
            images.inspect(tmp_path / name)


def test_the_digest_is_of_the_picture_not_of_the_name(tmp_path):
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        PIL.Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / f"{name}.png")
    a, b, c = (images.inspect(tmp_path / f"{name}.png").digest for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("padding", [0, 60_000, 65_536, 70_000, 140_000, 1_200_000])
def test_the_digest_is_that_of_all_bytes_whatever_is_read_at_a_time(tmp_path, padding):
    PIL.Image.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes() + bytes(padding)
    (tmp_path / "a.jpg").write_bytes(content)
    whole = hashlib.blake2b(content, digest_size=16, salt=len(content).to_bytes(8, "little"))
    assert images.inspect(tmp_path / "a.jpg").digest == whole.hexdigest()


def test_the_digest_sees_every_byte_and_the_length_of_a_large_file(tmp_path):
    def digest(content: bytes) -> str:
        path = tmp_path / "large.bmp"
        path.write_bytes(header + content)
        return images.inspect(path).digest

    buffer = io.BytesIO()
    PIL.Image.new("RGB", (300, 300)).save(buffer, "BMP")
    header, content = buffer.getvalue()[:54], buffer.getvalue()[54:]
    found = [content, b"\1" + content[1:], content[:-1] + b"\1", content + b"\0"]
    middle = len(content) // 2
    found.append(content[:middle] + b"\1" + content[middle + 1 :])
    assert len({digest(item) for item in found}) == 5


def test_an_image_that_breaks_later_is_a_user_error_naming_the_file(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(NOISE).save(path)
    content = bytearray(path.read_bytes())
    content[60:200] = bytes(140)  # the ends are whole, so only decoding finds it
    path.write_bytes(content)
    facts = images.inspect(path)
    with pytest.raises(UserError, match=r"a\.png: the image cannot be read .*remove it together with its annotation"):
        FileImage(path, facts.orientation)()


def test_a_reader_of_a_file_can_be_sent_to_a_worker(tmp_path):
    PIL.Image.fromarray(NOISE).save(tmp_path / "a.png")
    copy = pickle.loads(pickle.dumps(FileImage(tmp_path / "a.png")))
    np.testing.assert_array_equal(np.asarray(copy()), NOISE)


def claiming(path, width, height):
    """A PNG of some bytes whose header names a size."""
    PIL.Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return path


def test_a_large_picture_is_read_without_a_word_and_pillows_limit_stays(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1_000_000)
    PIL.Image.new("RGB", (13500, 1000), (10, 20, 30)).save(tmp_path / "a.png")
    assert images.inspect(tmp_path / "a.png").raw_size_wh == (13500, 1000)
    read = FileImage(tmp_path / "a.png")()
    assert (read.size, read.getpixel((13499, 999))) == ((13500, 1000), (10, 20, 30))
    assert not recwarn
    assert PIL.Image.MAX_IMAGE_PIXELS == 1_000_000


@pytest.mark.parametrize("size", [(50_000, 50_000), (2_000_000, 251)])
def test_a_bomb_is_refused_by_name_before_memory_is_taken(tmp_path, monkeypatch, size):
    path = claiming(tmp_path / "bomb.png", *size)
    monkeypatch.setattr(PIL.Image.Image, "load", lambda *_: pytest.fail("decoded"))
    words = f"it claims {size[0]} x {size[1]} pixels, more than dataset.max_pixels=5e\\+08"
    with pytest.raises(images.UnreadableImage, match=words):
        images.inspect(path)
    with pytest.raises(UserError, match=rf"bomb\.png: .*{words}"):
        FileImage(path)()


def test_the_limit_is_a_setting(tmp_path):
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert images.inspect(tmp_path / "a.png", 1200).raw_size_wh == (40, 30)
    with pytest.raises(images.UnreadableImage, match="max_pixels=1199"):
        images.inspect(tmp_path / "a.png", 1199)


def test_pillows_limit_is_back_after_many_threads(tmp_path):
    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    claiming(tmp_path / "b.png", 50_000, 50_000)

    def look(name):
        with contextlib.suppress(images.UnreadableImage):
            images.inspect(tmp_path / name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, ["a.png", "b.png"] * 100))
    assert before == PIL.Image.MAX_IMAGE_PIXELS
