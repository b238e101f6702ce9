"""Videos through PyAV: frames in, and the same with the detections drawn on them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from headstart.inference.found import Found
from headstart.inference.given import Given

NEEDS = "it is a video, which needs a further package: pip install 'headstart[video]'"
FRAMES_PER_SECOND = 25
"""Of a video that does not say."""


def can_be_read() -> bool:
    return find_spec("av") is not None


@dataclass(frozen=True)
class Frame:
    """One of a video, upright."""

    number: int
    seconds: float
    given: Given


class Broken(Exception):
    """The video ends, or begins, with something that cannot be decoded; the text says where."""


def parts(path: Path, size: int) -> Iterator[list[Frame]]:
    """All frames of the first stream, `size` at a time. Raises `Broken`, when what comes before it was given."""
    part: list[Frame] = []
    count = 0
    try:
        with _opened(path) as container:
            for frame in container.decode(video=0):
                part.append(Frame(count, round(float(frame.time or 0.0), 6), _given(frame)))
                count += 1
                if len(part) == size:
                    yield part
                    part = []
    except Broken as error:
        if part:
            yield part
        raise Broken(f"{error}; {count} frames of it were looked at" if count else str(error)) from None
    if part:
        yield part


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Broken("it has no pictures in it")
            yield container
    except (FFmpegError, OSError, ValueError) as error:
        raise Broken(f"it cannot be decoded ({getattr(error, 'strerror', None) or error})") from None


def _given(frame: Any) -> Given:
    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))  # as a phone was held
    pixels = np.ascontiguousarray(turned)
    return Given(torch.from_numpy(pixels).permute(2, 0, 1), lambda: PIL.Image.fromarray(pixels))


@contextmanager
def drawn_video(path: Path, source: Path) -> Iterator[Callable[[Frame, Found], None]]:
    """An mp4 at `path` with the frames that it is given; each is shown as long as in `source`."""
    import av

    with _opened(source) as original:
        stream: Any = original.streams.video[0]
        rate, base = stream.average_rate or FRAMES_PER_SECOND, stream.time_base
    with av.open(str(path), "w") as container:
        out: Any = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        out.pix_fmt, out.codec_context.time_base = "yuv420p", base

        begun = False

        def put(frame: Frame, found: Found) -> None:
            nonlocal begun
            if not begun:
                begun, (out.width, out.height) = (
                    True,
                    (max(2, side - side % 2) for side in found.size_wh),
                )  # no others in it
            encoded = av.VideoFrame.from_image(found.draw().crop((0, 0, out.width, out.height)))
            encoded.pts, encoded.time_base = round(frame.seconds / base), base
            container.mux(out.encode(encoded))

        try:
            yield put
        finally:  # what comes before something broken is kept
            if begun:
                container.mux(out.encode(None))
