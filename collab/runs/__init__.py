"""Many episodes: scheduling, run folders, the live view, recorded traces, grading again."""
