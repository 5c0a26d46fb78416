"""The *Batch* dock and its controller."""
