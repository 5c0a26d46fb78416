"""Prediction: tiles, views, seams and mask pasting."""
