"""A large json piece by piece: the items of its lists are passed on one by one, the text is never whole in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.decoder import WHITESPACE  # pyright: ignore[reportAttributeAccessIssue]
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

_PIECE = 4 * 1024 * 1024
"""Characters read at a time."""


class Items(Protocol):
    """What keeps the items of a list."""

    def append(self, item: Any, /) -> None: ...


@runtime_checkable
class Blocks(Items, Protocol):
    """What may keep many at once."""

    def extend_from(self, block: str) -> bool:
        """Whether the items of `block`, a json list, are kept; else none of them is, and they come one by one."""
        ...


def load(path: Path, keep: Callable[[str], Items]) -> dict[str, Any]:
    """The object that the file holds; of each of its lists, what `keep(key)` gave and was given the items.

    ValueError or RecursionError where it is no object in UTF-8, or not whole: `json.loads` says what is wrong.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        return _Stream(file).whole(keep)


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What the first of two equal keys says would be lost, and programs differ in which one they take."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object, beside {keys[0][:40]!r}; remove one")
    return content


class _Stream:
    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text, self.at, self.ended = "", 0, False
        self.refused = False
        """Whether what was read goes item by item."""
        self.decode = json.JSONDecoder(object_pairs_hook=once_each).raw_decode

    def whole(self, keep: Callable[[str], Items]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.expect("{")
        more = self.peek() != "}"
        while more:
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("a key is no text")
            self.expect(":")
            once_each([*found.items(), (key, None)])
            found[key] = self.items(keep(key)) if self.peek() == "[" else self.value()
            more = self.expect(",}") == ","
        if not more and not found:
            self.expect("}")
        if self.peek():
            raise ValueError("there is more behind the end")
        return found

    def items(self, kept: Items) -> Items:
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return kept
        blocks = kept if isinstance(kept, Blocks) else None
        while True:
            if blocks is not None and not self.refused:
                self.many(blocks)
            kept.append(self.value())
            if self.expect(",]") == "]":
                return kept

    def many(self, kept: Blocks) -> None:
        """All whole objects of what was read, but the last.

        Where `[`, a text from an item's start to a `}`, and `]` are a json list, the `}` ends an item: there is one way
        to read JSON from its start on.
        """
        end = self.last_end()
        self.refused = end <= self.at or not kept.extend_from(f"[{self.text[self.at : end]}]")
        if not self.refused:
            self.at = end
            self.expect(",")

    def last_end(self) -> int:
        """Behind the last `}` that may be an item's end, for another object follows; 0: there is none."""
        end = self.text.rfind("},", self.at)
        while end >= 0:
            following = WHITESPACE.match(self.text, end + 2).end()
            if self.text.startswith("{", following):
                break
            end = self.text.rfind("},", self.at, end + 1)
        return end + 1

    def value(self) -> Any:
        """A number is only whole when something is behind it."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
                if end < len(self.text) or self.ended:
                    self.at = end
                    return value
            except json.JSONDecodeError:
                if self.ended:
                    raise
            self.read()

    def expect(self, any_of: str) -> str:
        found = self.peek()
        if not found or found not in any_of:
            raise ValueError(f"none of {any_of}")
        self.at += 1
        return found

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self.at = WHITESPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                return ""
            self.read()

    def read(self) -> None:
        """At least as much as there is: what is larger than a piece is not tried again and again."""
        rest = self.text[self.at :]
        piece = self.file.read(max(_PIECE, len(rest)))
        self.text, self.at, self.ended, self.refused = rest + piece, 0, not piece, False
