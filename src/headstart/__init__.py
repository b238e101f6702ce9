"""Transfer learning for object detection, with the comparison as the product."""

__version__ = "0.3.0"
