"""Judging answers: right or wrong is decided here, and nowhere else."""
