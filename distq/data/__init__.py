"""Samples in a fixed order, by index: sources, decoding, preprocessing, and which sample does what."""
