"""A window of a picture is what cutting the upright picture gives, of any kind of file."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.data import windows
from headstart.data.images import FileImage, digest_of
from headstart.data.windows import Stored, WindowOf
from headstart.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
WINDOW = (3, 5, 17, 25)


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    windows.forget()


def saved(folder: Path, mode: str = "RGB") -> Path:
    if mode == "I;16":
        image = PIL.Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    else:
        image = PIL.Image.fromarray(NOISE).convert(mode)
    image.save(folder / "a.png")
    return folder / "a.png"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_is_cut_out_of_the_upright_picture(tmp_path, orientation):
    read = FileImage(saved(tmp_path), orientation)
    upright = read()
    assert Stored.of(read).size_wh == upright.size
    found = WindowOf(read, WINDOW)()
    np.testing.assert_array_equal(np.asarray(found), np.asarray(upright.crop(WINDOW)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA", "I;16"])
def test_colours_are_those_of_the_whole_picture(tmp_path, mode):
    read = FileImage(saved(tmp_path, mode), 6)
    found = WindowOf(read, WINDOW)()
    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), np.asarray(read().crop(WINDOW)))


def test_windows_of_a_picture_decode_it_once(tmp_path, monkeypatch):
    decoded = []
    stored = FileImage.stored
    monkeypatch.setattr(FileImage, "stored", lambda read: decoded.append(read) or stored(read))
    read = FileImage(saved(tmp_path))
    for left in range(10):
        WindowOf(read, (left, 0, left + 9, 9))()
    assert len(decoded) == 1


def test_a_picture_that_was_replaced_is_no_longer_cut(tmp_path):
    path = saved(tmp_path)
    view = WindowOf(FileImage(path), WINDOW, digest_of(path))
    view()
    windows.forget()
    PIL.Image.fromarray(255 - NOISE).save(path)
    with pytest.raises(UserError, match=r"a\.png: the picture is another one now"):
        view()
