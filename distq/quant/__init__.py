"""What a threshold means."""
