"""The *Models* dock."""
