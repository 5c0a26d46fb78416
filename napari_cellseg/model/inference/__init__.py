"""Prediction: tiles, views, seams, pasting."""
