"""Counts in, thresholds out: distributions of tensors and the methods that choose a threshold from one."""
