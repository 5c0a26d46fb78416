"""The *Open* dock and what opens images."""
