"""Rewrites of a float model, one subject a file."""
