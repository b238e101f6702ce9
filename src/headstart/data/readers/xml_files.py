"""An xml file of strangers: no entities, names in small letters."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from headstart import limits
from headstart.errors import UserError


def load(path: Path) -> Element:
    """The root, with all names in small letters and without their namespaces; UserError with line and column."""
    try:
        content = limits.read_bytes(path, limits.ANNOTATIONS_BYTES, "an xml file")
        top = defusedxml.ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise UserError(
            f"{path}: not a readable xml file ({error}); correct it, or remove it and its image."
        ) from error
    for element in top.iter():
        element.tag = str(element.tag).rpartition("}")[2].lower()
    return top
