"""The *Export* dock."""
