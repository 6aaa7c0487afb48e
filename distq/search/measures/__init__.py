"""What a network is judged by: similarity to float, right answers, detections, or a user's own measure."""
