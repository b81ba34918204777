"""Tables: which of NumPy's functions recorders follow, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gates.arrays import Array

# Their answer depends on shapes and dtypes alone: a real value.
STATIC = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type,
    np.iscomplexobj, np.isrealobj, np.may_share_memory, np.shares_memory, np.broadcast_shapes,
}  # fmt: skip

# They make an array of another's shape.
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}

# They cut an array into slices.
SPLITS = {np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit}

# They write into their first argument.
CHANGES = {np.put_along_axis, np.put, np.place, np.putmask, np.fill_diagonal}

# They may return their first argument's memory, seen otherwise.
VIEWS = {
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.expand_dims, np.squeeze,
    np.broadcast_to, np.flip, np.fliplr, np.flipud, np.rot90, np.diagonal, np.real, np.imag, np.atleast_1d,
    np.atleast_2d, np.atleast_3d, sliding_window_view,
}  # fmt: skip

# They compute one new array whose shape follows from shapes.
COMPUTES = {
    np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.amax, np.amin, np.ptp, np.any, np.all, np.argmax,
    np.argmin, np.cumsum, np.cumprod, np.median, np.average, np.quantile, np.percentile, np.count_nonzero, np.trace,
    np.nansum, np.nanmean, np.nanmax, np.nanmin, np.nanprod, np.nanstd, np.nanvar, np.nancumsum, np.nanargmax,
    np.nanargmin, np.nanmedian,
    np.where, np.clip, np.select, np.choose, np.nan_to_num, np.round, np.around, np.diff, np.ediff1d,
    np.gradient, np.interp, np.trapezoid, np.convolve, np.correlate, np.i0, np.sinc, np.angle, np.unwrap,
    np.real_if_close, np.copy,
    np.dot, np.vdot, np.inner, np.outer, np.tensordot, np.einsum, np.kron, np.cross,
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.block, np.append, np.insert,
    np.delete, np.tile, np.repeat, np.pad, np.roll, np.resize,
    np.take, np.take_along_axis, np.sort, np.argsort, np.partition, np.argpartition, np.lexsort, np.searchsorted,
    np.digitize, np.tril, np.triu, np.diag, np.diagflat, np.vander, np.cov, np.corrcoef, np.isin,
    np.isclose, np.allclose, np.array_equal, np.array_equiv, np.iscomplex, np.isreal, np.isneginf, np.isposinf,
    np.zeros, np.ones, np.empty, np.full, np.arange, np.eye, np.identity, np.tri, np.linspace,
    np.linalg.norm, np.linalg.inv, np.linalg.pinv, np.linalg.solve, np.linalg.det, np.linalg.matrix_power,
    np.linalg.cholesky, np.linalg.eigvalsh, np.linalg.multi_dot, np.linalg.matrix_rank, np.linalg.cond,
    np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.fft2, np.fft.ifft2, np.fft.fftshift, np.fft.ifftshift,
}  # fmt: skip
COMPUTES |= {
    getattr(np.linalg, name)
    for name in ("vector_norm", "matrix_norm", "matmul", "outer", "cross", "trace", "vecdot", "tensordot")
}

METHODS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in (
        "sum", "prod", "mean", "std", "var", "max", "min", "any", "all", "argmax", "argmin", "cumsum", "cumprod", "dot",
        "clip", "round", "copy", "repeat", "take", "argsort", "ravel", "swapaxes", "squeeze", "diagonal", "trace",
        "searchsorted",
    )
}  # fmt: skip
METHODS["conj"] = METHODS["conjugate"] = np.conjugate


def title(function: Any) -> str:
    """Return what a message calls a function: ``np.where``, ``np.add.reduce``."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{function.__name__}"
    if isinstance(function, np.ufunc):
        return f"np.{function.__name__}"
    module = str(getattr(function, "__module__", "")).replace("numpy", "np")
    return f"{module}.{getattr(function, '__name__', function)}"


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return tuples, lists, dicts and slices with `function` applied to everything in them."""
    if type(tree) in (tuple, list):
        return type(tree)([mapped(branch, function) for branch in tree])
    if type(tree) is dict:
        return {key: mapped(branch, function) for key, branch in tree.items()}
    if isinstance(tree, slice):
        return slice(*(mapped(part, function) for part in (tree.start, tree.stop, tree.step)))
    return function(tree)


def arrays(tree: Any) -> Iterator[Array]:
    """Yield the arrays in tuples and lists."""
    if isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from arrays(branch)


def has_mask(index: Any) -> bool:
    """Whether an index holds an array of booleans, so that the shape of what it selects depends on them."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, np.ndarray | np.generic | list | bool) and np.asarray(part).dtype == bool for part in parts
    )


def split_axis(function: Any, arguments: Any, keywords: Any, ndim: int) -> int:
    """Return the axis along which one of the splitting functions cuts."""
    if function in (np.split, np.array_split):
        axis: int = arguments[2] if len(arguments) > 2 else keywords.get("axis", 0)
        return axis
    return {np.vsplit: 0, np.hsplit: int(ndim > 1), np.dsplit: 2}[function]


def inverse(
    function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], parent: Array
) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Return the function and arguments that give the parent's whole value from the view's, None if there are none."""
    if function in (np.reshape, np.ravel, np.squeeze, np.expand_dims, np.atleast_1d, np.atleast_2d, np.atleast_3d):
        in_order = "order" not in keywords and not any(isinstance(argument, str) for argument in arguments)
        return (np.reshape, (parent.shape,)) if in_order else None
    if function is np.swapaxes and not keywords:
        return np.swapaxes, arguments
    if function is np.transpose:
        axes = arguments[0] if arguments else keywords.get("axes")
        if axes is None:
            return np.transpose, ()
        return np.transpose, (tuple(np.argsort(np.arange(parent.ndim)[list(axes)]).tolist()),)
    return None
