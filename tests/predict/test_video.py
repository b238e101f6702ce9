"""A video is looked at frame by frame, and comes back drawn, as long as it was."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import headstart
from headstart.predict import video
from headstart.predict.inputs import Item
from headstart.predict.looking import watch
from headstart.predict.video import Broken, parts

av = pytest.importorskip("av")
RATE, FRAMES = 10, 7


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, picture) -> Path:
    """Seven frames at ten a second, of sides that mp4's usual format has not: lossless in Matroska."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 121, 91, "bgr0"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_image(picture(number, 91, 121))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def find(model_folder):
    model = headstart.load(model_folder, device="cpu")
    return lambda given: model.found(given, model.least(0.0))


def test_frames_are_the_pictures_at_their_times(clip: Path, picture) -> None:
    found = [frame for part in parts(clip, 3) for frame in part]
    assert [len(part) for part in parts(clip, 3)] == [3, 3, 1]
    assert [frame.number for frame in found] == list(range(FRAMES))
    assert [frame.seconds for frame in found] == pytest.approx([n / RATE for n in range(FRAMES)])
    for number, frame in enumerate(found):
        assert np.array_equal(frame.given.pixels.permute(1, 2, 0).numpy(), np.array(picture(number, 91, 121)))


def test_each_frame_has_its_detections_and_the_drawn_video_is_as_long(clip, find, picture, tmp_path) -> None:
    entries = []
    assert list(watch(Item(clip, "clip.mkv"), find, 3, tmp_path / "new" / "drawn.mp4", entries.append)) == []
    assert [entry.name for entry in entries] == [f"clip.mkv/{n:06d}" for n in range(FRAMES)]
    assert [entry.seconds for entry in entries] == pytest.approx([n / RATE for n in range(FRAMES)])
    assert all(len(entry.found) == 5 for entry in entries)
    with av.open(str(tmp_path / "new" / "drawn.mp4")) as container:
        drawn = list(container.decode(video=0))
    assert [frame.time for frame in drawn] == pytest.approx([n / RATE for n in range(FRAMES)], abs=2e-3)
    assert (drawn[0].width, drawn[0].height) == (120, 90)
    expected = np.asarray(entries[3].found.draw().crop((0, 0, 120, 90))).astype(float)
    plain = np.asarray(picture(3, 91, 121).crop((0, 0, 120, 90))).astype(float)
    shown = drawn[3].to_ndarray(format="rgb24").astype(float)
    assert np.abs(shown - expected).mean() < 0.5 * np.abs(shown - plain).mean()


def test_a_video_that_is_cut_off_is_looked_at_as_far_as_it_goes_and_named(clip: Path, find, tmp_path: Path) -> None:
    whole = clip.read_bytes()
    for share, least in ((0.6, 1), (0.01, 0)):
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[: int(share * len(whole))])
        entries = []
        list(watch(Item(cut, "cut.mkv"), find, 2, None, entries.append))
        assert least <= len(entries) < FRAMES
    (tmp_path / "text.mp4").write_text("no video")
    (why,) = watch(Item(tmp_path / "text.mp4", "text.mp4"), find, 2, tmp_path / "drawn.mp4", entries.append)
    assert "it cannot be decoded" in why


def test_what_comes_before_a_broken_frame_is_given_and_the_rest_is_told(clip: Path, monkeypatch) -> None:
    given = video._given

    def fails(frame):
        if frame.time > 0.35:
            raise ValueError("a broken frame")
        return given(frame)

    monkeypatch.setattr(video, "_given", fails)
    seen = []
    with pytest.raises(Broken, match=r"a broken frame.*; 4 frames of it were looked at"):
        seen.extend(frame.number for part in parts(clip, 3) for frame in part)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_video_that_was_held_sideways_is_upright(clip: Path, degrees: int, monkeypatch, picture) -> None:
    """As libavutil defines it: the angle by which a frame is turned, counterclockwise, to be shown."""
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))

    class Held:
        rotation = degrees
        to_ndarray = frame.to_ndarray

    turned = picture(0, 91, 121).rotate(degrees, expand=True)
    assert np.array_equal(video._given(Held()).pixels.permute(1, 2, 0).numpy(), np.asarray(turned))


def test_without_pyav_it_says_what_to_install(clip: Path, find, monkeypatch) -> None:
    monkeypatch.setattr(video, "can_be_read", lambda: False)
    (why,) = watch(Item(clip, "clip.mkv"), find, 2, None, print)
    assert "pip install 'headstart[video]'" in why


def test_a_video_is_in_json_csv_and_labels_frame_by_frame(clip, tmp_path, model_folder, picture):
    from headstart.config.schema import PredictConfig
    from headstart.predict.verb import predict

    (tmp_path / "in").mkdir()
    picture(9).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "clip.mkv").write_bytes(clip.read_bytes())
    words = {"device": "cpu", "threshold": 0.0, "output": str(tmp_path / "out"), "enable_progress_bar": False}
    out = predict(PredictConfig(run=str(model_folder), images=str(tmp_path / "in"), **words))
    images = json.loads((out / "predictions.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.png", *(f"clip.mkv/{n:06d}" for n in range(FRAMES))]
    assert [image["frame"] for image in images[1:]] == list(range(FRAMES))
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["frame"] for row in rows}) == ["", *map(str, range(FRAMES))]
    assert len(list((out / "labels").rglob("*.txt"))) == 1 + FRAMES
    assert sorted(path.name for path in (out / "pictures").rglob("*")) == ["a.jpg", "clip.mp4"]
