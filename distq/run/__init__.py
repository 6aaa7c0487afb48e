"""One run while it goes on: its context, identity, folder and results."""
