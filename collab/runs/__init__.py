"""Many episodes: scheduling, run folders, the live view, recorded traces and regrading."""
