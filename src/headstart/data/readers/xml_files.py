"""An xml file of strangers: no entities, names in small letters."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from headstart import limits
from headstart.data.readers.raw import Malformed


def load(path: Path, most: int, what: str) -> Element:
    """The root, with all names in small letters and without their namespaces; `Malformed` with line and column.

    `most`: bytes, above which it is refused as no `what`.
    """
    try:
        content = limits.read_bytes(path, most, what)
        _check_number(content)
        top = defusedxml.ElementTree.fromstring(content, forbid_dtd=False)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise Malformed(f"not a readable xml file ({error})") from error  # LookupError: an encoding that there is not
    for element in top.iter():
        element.tag = str(element.tag).rpartition("}")[2].lower()
    return top


def _check_number(content: bytes) -> None:
    """ValueError where millions of elements, or attributes, would have to be made."""
    for sign, most, name in ((b"<", limits.TAGS, "tags"), (b"=", limits.ATTRIBUTES, "attributes")):
        if (count := content.count(sign)) > most:
            raise ValueError(f"{count:,} {name}, where {most:,} are the most; divide it")
