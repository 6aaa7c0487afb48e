"""Several models, each calibrated on what the others hand to it."""
