"""Pocket reasoners: real language models small enough to ship, served as any other endpoint is."""

import os

# numpy reads it as it is imported; of so small products, threads wait longer than they compute
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
