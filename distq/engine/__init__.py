"""Who runs a work unit, where, and again."""
