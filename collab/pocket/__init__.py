"""Pocket reasoners: real language models, small enough to ship, served like any other endpoint."""

import os

# numpy reads it on import; for products this small, threads would wait longer than they compute
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
