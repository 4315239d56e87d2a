"""The kernel that computes: its name, and the products that it treats evenly.

A BLAS picks its kernel by the processor, and so does numpy for its exponential. Each kernel sums
and rounds in an order of its own, and the order may depend on the shape of a product. So the
products are compared when a model is loaded, on the model's own shapes.

With the OpenBLAS 0.3.31 of numpy's wheels: Prescott, Nehalem, Sandybridge and Haswell sum the keys
of attention in the same order however many there are; SkylakeX (AVX-512) sums 32 of them in another
order than 64 or more. On arm64, by its source, Neoverse V1's SVE kernel walks through three equal
runs of the keys at once, so that its order always depends on their number; SME kernels take another
path where a matrix has no gaps between its rows, as one block alone has none. The five x86 kernels
do not depend on where an array begins in memory, nor on the number of threads; numpy's float32
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
"""Rows a block, best first; a model takes the first one that its BLAS treats evenly, else one."""
BLOCKS = (1, 2, 3)
"""How many blocks a probe computes: a kernel may treat one alone differently."""
STRIDE = 32
"""Keys are padded to a multiple of this where a product takes all of them."""
PIECE = 64
"""Keys a product takes where the order of a sum depends on how many there are."""
CORE_NAMES = (
    "scipy_openblas_get_corename64_",
    "scipy_openblas_get_corename",
    "openblas_get_corename64_",
    "openblas_get_corename",
)
"""What OpenBLAS calls the function that names its core, by how it was built."""


def name() -> str:
    """Name the BLAS's core and the SIMD level of numpy's exponential, such as `Haswell/X86_V3`."""
    targets = opt_func_info(func_name="^exp$", signature="float32").get("exp", {})
    exponential = next((found["current"] for found in targets.values()), "baseline")
    return f"{_core()}/{exponential.partition('(')[0]}"


def block_width(matrices: list[Floats]) -> int:
    """Choose the rows a block: the most for which no product depends on a row's place."""
    return next((width for width in WIDTHS if all(_even(one, width) for one in matrices)), 1)


def blocks(array: Floats, width: int) -> Floats:
    """View features × lanes as blocks × features × width."""
    return array.reshape(len(array), -1, width, copy=False).swapaxes(0, 1)


def sums_in_order(head: int, context: int) -> bool:
    """Return whether products over keys have the same bits however much the keys are padded.

    Where they have not, products over a fixed number of keys have: all are of one shape.

    Args:
        head: Features of a key.
        context: The most keys.
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
    """Multiply equal rows, as forward passes over few and many do, in either order in memory."""
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
    """Return the core's name as numpy's own BLAS reports it, else the BLAS's."""
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    for symbol in CORE_NAMES:
        if (report := getattr(library, symbol, None)) is not None:
            report.restype = ctypes.c_char_p
            return str(report().decode())
    return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
