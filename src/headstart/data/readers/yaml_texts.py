"""What a yaml of strangers says, as it is written: nothing is made of it, or merged into it."""

from __future__ import annotations

from typing import Any

import yaml


class Texts(yaml.BaseLoader):
    """Lists, mappings and texts, and nothing else; a key that stands twice would lose what it said first."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Tags that would make objects elsewhere (`!!python/…`) are no part of a data set."""
        if "python/" in node.tag:
            raise yaml.constructor.ConstructorError(None, None, f"{node.tag} would run code", node.start_mark)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        content = super().construct_mapping(node, deep)
        if len(content) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return content
