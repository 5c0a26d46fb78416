"""The *Train* dock and its controller."""
