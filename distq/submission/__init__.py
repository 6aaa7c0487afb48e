"""A job on a cluster whose HTTP port alone is in reach: what travels there, and what comes back."""
