"""The BLAS kernel in use: its name, and the products whose bits do not depend on the batch.

A BLAS chooses its kernel by the processor, and so does numpy for its exponential. Each kernel sums
and rounds in its own order, which may depend on the shape of a product. So products are compared
when a model is loaded, with the model's own shapes.

With the OpenBLAS 0.3.31 of numpy's wheels, Prescott, Nehalem, Sandybridge and Haswell sum the keys
of attention in the same order however many there are. SkylakeX (AVX-512) sums 32 keys in another
order than 64 or more. On arm64, according to the source, the SVE kernel of Neoverse V1 processes
three equal runs of the keys at once, so that its order always depends on their number. SME kernels
take another path if a matrix has no gaps between its rows, as in a single block. The five x86
kernels depend neither on the address of an array nor on the number of threads. numpy's float32
functions do not depend on a value's place in a vector, at any level of SIMD.
"""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.introspect import opt_func_info

Floats: TypeAlias = npt.NDArray[np.float32]

WIDTHS = (16, 8, 4, 2)
"""Rows per block, best first: the first one with equal bits in every place is used, else 1."""
BLOCKS = (1, 2, 3)
"""The numbers of blocks that a probe computes: a kernel may treat a single block differently."""
STRIDE = 32
"""Keys are padded to a multiple of this if a product takes all of them."""
PIECE = 64
"""Keys per product, if the order of a sum depends on their number."""
CORE_NAMES = (
    "scipy_openblas_get_corename64_",
    "scipy_openblas_get_corename",
    "openblas_get_corename64_",
    "openblas_get_corename",
)
"""Names of OpenBLAS's function that reports its core; they differ between builds."""


def name() -> str:
    """Return the BLAS's core and the SIMD level of numpy's exponential: `Haswell/X86_V3`."""
    targets = opt_func_info(func_name="^exp$", signature="float32").get("exp", {})
    exponential = next((found["current"] for found in targets.values()), "baseline")
    return f"{_core()}/{exponential.partition('(')[0]}"


def block_width(matrices: list[Floats]) -> int:
    """Return the largest number of rows per block for which no product depends on a row's place."""
    return next((width for width in WIDTHS if all(_even(m, width) for m in matrices)), 1)


def blocks(array: Floats, width: int) -> Floats:
    """View features × lanes as blocks × features × width."""
    return array.reshape(len(array), -1, width, copy=False).swapaxes(0, 1)


def sums_in_order(head: int, context: int) -> bool:
    """Return whether products over keys have the same bits for any padding of the keys.

    If not, products over a fixed number of keys have: they all have the same shape.

    Args:
        head: Features of a key.
        context: The largest number of keys.
    """
    most = -(-context // STRIDE) * STRIDE
    rng = np.random.default_rng(0)
    keys = rng.standard_normal((most, head), np.float32)
    query, weights = keys[:1], rng.random((1, most), np.float32)
    scores = query @ keys.T
    for count in range(STRIDE, most, STRIDE):
        padded = np.where(np.arange(most) < count, weights, np.float32(0))
        same = (query @ keys[:count].T == scores[:, :count]).all()
        if not same or (weights[:, :count] @ keys[:count] != padded @ keys).any():
            return False
    return True


def _even(matrix: Floats, width: int) -> bool:
    """Return whether equal rows have equal products in any block, and in both memory orders."""
    features: Floats = np.random.default_rng(0).standard_normal((matrix.shape[1], 1), np.float32)
    rows = [np.repeat(features, count * width, axis=1) for count in BLOCKS]
    turned = [np.ascontiguousarray(array.T).T for array in rows]
    return _alike(matrix, rows, width) and _alike(matrix, turned, width)


def _alike(matrix: Floats, arrays: list[Floats], width: int) -> bool:
    first = _product(matrix, arrays[0], width)[:, :1]
    return all((_product(matrix, array, width) == first).all() for array in arrays)


def _product(matrix: Floats, rows: Floats, width: int) -> Floats:
    out: Floats = np.empty((len(matrix), rows.shape[1]), np.float32)
    np.matmul(matrix, blocks(rows, width), out=blocks(out, width))
    return out


def _core() -> str:
    """Return the core that numpy's BLAS reports, else the name of the BLAS."""
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    for symbol in CORE_NAMES:
        if (report := getattr(library, symbol, None)) is not None:
            report.restype = ctypes.c_char_p
            return str(report().decode())
    return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
