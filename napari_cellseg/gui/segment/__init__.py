"""The *Segment* dock and its controller."""
