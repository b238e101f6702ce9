"""What can be wrong with a data set, and what may be done about it: one table. Imports no torch.

`dataset.on.<kind>=<action>` chooses among the actions of a kind; the first one is the default. A kind that no setting
changes has one action. What is found is counted in the record, with what was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How bad a kind of defect is."""

    error = "error"  # something is lost, or what is learnt would be wrong
    warning = "warning"  # may be meant so; a look is worth it
    note = "note"  # harmless


class Action(Enum):
    """What is done about a defect."""

    error = "error"  # the data set is refused
    skip_box = "skip_box"
    clip = "clip"
    skip_image = "skip_image"
    keep = "keep"


DONE = {
    Action.error: "refused",
    Action.skip_box: "dropped box",
    Action.clip: "clipped box",
    Action.skip_image: "skipped image",
}


@dataclass(frozen=True)
class Kind:
    """A kind of defect."""

    what: str
    """For people: `a box without area`."""
    severity: Severity
    actions: tuple[Action, ...]
    """Allowed ones, the default first."""
    costly: bool = False
    """Whether pictures must be decoded to see it: `headstart doctor` does, and training where an action other than the
    default is asked for."""
    setting: str = ""
    """What changes the outcome where it is not `dataset.on.<kind>`."""
    kept: str = "kept"
    """What `keep` does, for people: `used once`."""
    refused: str = DONE[Action.error]
    """Likewise of `error`."""
    remedy: str = "Correct the data"
    """What to do about it where it is refused."""

    def done(self, action: Action) -> str:
        """What is done about it, for people."""
        return {Action.keep: self.kept, Action.error: self.refused}.get(action) or DONE[action]


_ERROR, _WARNING, _NOTE = Severity.error, Severity.warning, Severity.note
_REFUSE, _SKIP_BOX, _CLIP, _SKIP_IMAGE, _KEEP = Action

_OF_A_BOX = (_SKIP_BOX, _SKIP_IMAGE, _REFUSE)
_UNREADABLE = (_REFUSE, _SKIP_BOX, _SKIP_IMAGE)


def _note(what: str, kept: str) -> Kind:
    """Harmless, and mended in the one way there is, unless it is to be refused."""
    return Kind(what, _NOTE, (_KEEP, _REFUSE), kept=kept)


KINDS: dict[str, Kind] = {
    # --------------------------------------------------------------------------------------------- pictures
    "unreadable_image": Kind("a picture that cannot be read", _ERROR, (_SKIP_IMAGE, _REFUSE)),
    "undecodable_image": Kind(
        "a picture whose pixels are broken in mid-file",
        _ERROR,
        (_REFUSE, _SKIP_IMAGE),
        costly=True,
        refused="stops when it reads one",
    ),
    "too_many_pixels": Kind(
        "a picture of more pixels than dataset.max_pixels, or a bomb", _ERROR, (_SKIP_IMAGE, _REFUSE)
    ),
    "large_image": _note("a picture of more than 100 million pixels", "read, which takes memory and time"),
    "extreme_aspect": Kind(
        "a picture 10 times as long as wide, or more",
        _WARNING,
        (_KEEP, _SKIP_IMAGE, _REFUSE),
        kept="resized: its short side keeps few pixels",
    ),
    "lying_suffix": _note("a picture of another format than its suffix says", "read as what it is"),
    "greyscale": _note("a grey picture", "grey repeated in all three channels"),
    "palette": _note("a picture with a palette", "colours looked up"),
    "transparent": _note("a picture in colour with a channel for transparency", "laid on white"),
    "cmyk": _note("a picture in the colours of print (CMYK)", "turned to RGB"),
    "sixteen_bit": Kind(
        "a picture of 16 bits a channel", _WARNING, (_KEEP, _SKIP_IMAGE, _REFUSE), kept="cut to the upper 8 bits"
    ),
    "exif_turned": _note("a picture that EXIF turns, with boxes in its turned pixels", "turned"),
    "exif_raw": _note("a picture that EXIF turns, with boxes in its pixels as stored", "not turned"),
    "exif_doubt": Kind(
        "a picture that EXIF turns, and no size tells in which pixels its boxes are",
        _WARNING,
        (_KEEP, _SKIP_IMAGE, _REFUSE),
        kept="turned, as viewers do",
    ),
    "exif_invalid": _note("a picture whose EXIF orientation is none of 1 to 8", "not turned"),
    "near_equal": Kind(
        "nearly equal pictures in two splits: what is measured was learnt", _WARNING, (_KEEP,), costly=True
    ),
    "missing_image": Kind("a picture that is listed and not there", _ERROR, (_SKIP_IMAGE, _REFUSE)),
    "wrong_size": Kind(
        "another size than the picture's", _WARNING, (_KEEP, _SKIP_IMAGE, _REFUSE), kept="used the image's size"
    ),
    "resized_image": Kind(
        "a picture of another size than its annotation says, with boxes that only fit that size",
        _ERROR,
        (_REFUSE, _SKIP_IMAGE, _KEEP),
        kept="used the image's size",
    ),
    "zero_size": Kind(
        "a size of 0 in place of the picture's", _NOTE, (_KEEP, _SKIP_IMAGE, _REFUSE), kept="used the image's size"
    ),
    "wrong_depth": _note("another number of channels than the picture's", "turned to RGB"),
    "listed_twice": _note("a picture that one split lists twice", "used once"),
    "equal_images": Kind("a picture that one split has twice", _NOTE, (_KEEP, _SKIP_IMAGE, _REFUSE)),
    "equal_images_other_boxes": Kind(
        "a picture that one split has twice, with other boxes", _WARNING, (_KEEP, _SKIP_IMAGE, _REFUSE)
    ),
    "split_overlap": Kind("a picture in two splits", _WARNING, (_KEEP,), setting="dataset.overlap"),
    # ------------------------------------------------------------------------------------------------ boxes
    "empty_box": Kind("a box without area", _ERROR, _OF_A_BOX),
    "inverted_box": Kind("a box whose right is left of its left, or bottom above its top", _ERROR, _OF_A_BOX),
    "not_finite_box": Kind("a box with NaN or infinity", _ERROR, _OF_A_BOX),
    "box_outside": Kind("a box wholly outside of its picture", _ERROR, _OF_A_BOX),
    "clipped_box": Kind("a box partly outside of its picture", _WARNING, (_CLIP, *_OF_A_BOX)),
    "enclosing_box": Kind(
        "an object that is no upright rectangle (polygon, circle, rotated box)",
        _WARNING,
        (_KEEP, *_OF_A_BOX),
        kept="used the box around it",
    ),
    "no_box": Kind("an object without a box (point, line, tag)", _WARNING, _OF_A_BOX),
    "out_of_view": Kind("an object that is marked as out of the picture", _NOTE, (_SKIP_BOX, _REFUSE)),
    "grouped": _note("shapes that are parts of one object", "used the box around them"),
    "oversized_box": Kind("a box wider or higher than its picture", _WARNING, (_CLIP, *_OF_A_BOX)),
    "tiny_box": Kind("a box with a side under `dataset.min_side`", _NOTE, (_KEEP, *_OF_A_BOX)),
    "doubled_box": Kind("a box that stands in its picture twice, of one class", _WARNING, (_KEEP, *_OF_A_BOX)),
    "box_of_two_classes": Kind(
        "a box that stands in its picture twice, of two classes", _WARNING, (_KEEP, _SKIP_IMAGE, _REFUSE)
    ),
    "wrong_area": Kind("an area that is none", _WARNING, (_KEEP, _REFUSE), kept="used the box's area"),
    "unknown_image": Kind("an object of a picture that is not listed", _ERROR, (_SKIP_BOX, _REFUSE)),
    "box_in_first_pixel": Kind(
        "a box within the first pixel: shares (0 to 1) where pixels are due?", _WARNING, (_KEEP, _REFUSE)
    ),
    "doubtful_units": Kind(
        "all boxes within the first 100 pixels: percent?", _WARNING, (_KEEP, _REFUSE), kept="kept as pixels"
    ),
    "not_shares": Kind("a box whose numbers are no shares (0 to 1) of the picture, as are due", _ERROR, _UNREADABLE),
    "polygon_line": Kind(
        "a polygon among YOLO's boxes",
        _ERROR,
        (_REFUSE, _KEEP, _SKIP_BOX, _SKIP_IMAGE),
        kept="used its enclosing box",
    ),
    "malformed_object": Kind("an object, or a line, that cannot be read", _ERROR, _UNREADABLE),
    "unnamed_image": Kind("an object that does not say of which picture it is", _ERROR, (_REFUSE, _SKIP_BOX)),
    # ---------------------------------------------------------------------------------------------- classes
    "unknown_class": Kind("an object of a class that there is not", _ERROR, _UNREADABLE),
    "background_class": Kind("a class called background", _WARNING, (_KEEP, _REFUSE), kept="kept as a class"),
    "unnamed_classes": Kind("classes that are numbers, without names", _WARNING, (_KEEP, _REFUSE), kept="numbered"),
    "unused_class": _note("a class without an object", "kept"),
    "class_in_one_split": Kind("a class that one split alone has", _WARNING, (_KEEP, _REFUSE)),
    "id_gaps": _note("numbers missing among the ids of the categories", "numbered anew"),
    "similar_names": Kind(
        "two classes whose names differ in letter case or blanks alone",
        _WARNING,
        (_KEEP, _REFUSE),
        kept="kept as two classes",
    ),
    "no_class": _note("a category without objects that is the background, or the root of all others", "left out"),
    # ---------------------------------------------------------------------------------------- files and splits
    "malformed_file": Kind(
        "an annotation file that cannot be read",
        _ERROR,
        (_REFUSE, _SKIP_IMAGE),
    ),
    "malformed_entry": Kind("what a file says of one picture, and cannot be read", _ERROR, (_REFUSE, _SKIP_IMAGE)),
    "described_twice": Kind(
        "a picture that is described twice, with different objects",
        _ERROR,
        (_REFUSE, _SKIP_IMAGE),
        remedy="Say which file counts (dataset.train_file, dataset.train_json, …), or remove the others",
    ),
    "ambiguous_image": Kind(
        "an annotation, or a line of a list, that fits two pictures",
        _ERROR,
        (_REFUSE, _SKIP_IMAGE),
        remedy="Write the path of the one that it is of, or remove the other",
    ),
    "wrong_filename": Kind(
        "an annotation that names another picture",
        _WARNING,
        (_KEEP, _SKIP_IMAGE, _REFUSE),
        kept="matched by the file's own name",
    ),
    "same_name": Kind(
        "a picture that another one's annotation file would fit, but for its suffix",
        _WARNING,
        (_KEEP, _REFUSE),
        kept="not used",
    ),
    "wrong_suffix": _note("an annotation that names its picture with another suffix", "matched"),
    "unlabelled_image": Kind(
        "a picture without a label file, as YOLO has them",
        _NOTE,
        (_KEEP, _SKIP_IMAGE, _REFUSE),
        kept="used as a negative",
    ),
    "missing_annotation": Kind(
        "a picture without annotations", _WARNING, (_SKIP_IMAGE, _KEEP, _REFUSE), kept="used as a negative"
    ),
    "label_without_image": Kind("a label file without a picture", _WARNING, (_KEEP, _REFUSE), kept="not used"),
    "unlabelled_test": Kind("a split for testing without labels", _WARNING, (_KEEP, _REFUSE), kept="not measured"),
    "negative_row": _note("a row of zeros, which says that its picture has no object", "used as a negative"),
    "scores": Kind("objects with scores, as detections have them, not annotations", _WARNING, (_KEEP, _REFUSE)),
    "unused_annotations": Kind("an annotation file that is of no split", _WARNING, (_KEEP, _REFUSE), kept="not used"),
    "unused_json": Kind("a json that is of no split", _WARNING, (_KEEP, _REFUSE), kept="not read"),
    "other_case": _note("a name that differs from its file's in letter case, or the form of accents, alone", "matched"),
    "other_path": _note("a picture whose path is written otherwise", "matched by the end of the path"),
    "id_types": _note("ids that are numbers in one place and text in another", "matched by value"),
    "link_loop": _note("a link to a folder above it", "not followed"),
    "repeated_link": _note("a link to what is read anyway", "read once"),
    "outside_root": Kind("a path in the data that leads out of the data set's folder", _ERROR, (_REFUSE, _KEEP)),
    "outside_link": Kind("a link out of the data set's folder", _WARNING, (_KEEP, _REFUSE), kept="not followed"),
    "deep_folder": Kind("a folder deeper than six", _WARNING, (_KEEP, _REFUSE), kept="not looked into"),
    "unreadable_folder": Kind("a folder that cannot be read", _ERROR, (_KEEP, _REFUSE), kept="not looked into"),
}
