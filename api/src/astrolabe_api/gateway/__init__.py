"""What belongs to the platform as a whole: health, metrics, discovery, the list of jobs."""
