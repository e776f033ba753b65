# cython: language_level=3
"""The executor: bound steps, run one after the other without going back to Python.

A `Segment` is a run of steps that are known before they run. It ends in one of three ways: with the outputs of the plan,
with a call of a Python function (an operator of the NumPy tier), or at a branch. What follows a call or a branch depends
on what comes out of it, shapes or a truth value, so each outcome has a segment of its own, which is bound when it first
occurs. A `Program` holds the first segments, one for each combination of input shapes seen.

Memory is named by bases: 0 is the address NULL, then come the inputs, and each segment on the way adds its arena and
what its call returns, or the outputs.
"""

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from rnnrt._core.engine cimport GIL_WORK, Block
from rnnrt._core.kernels cimport rt_pool

import os
from importlib import import_module

import numpy as np

from rnnrt._core import engine
from rnnrt.errors import InputError

cdef extern from "cpu.h" nogil:
    uint64_t rt_fp_enter()
    void rt_fp_leave(uint64_t old)

cdef extern from "ops.h" nogil:
    ctypedef int (*rt_op_run)(const int64_t *, char *const *, int, int) noexcept nogil
    ctypedef struct rt_ref:
        int64_t base, offset
    char *rt_at(char *const *values, rt_ref ref)
    ctypedef struct rt_op:
        const char *name
        rt_op_run run
        int n_words, splits
    ctypedef struct rt_ops:
        const char *isa
        int lanes, n_ops
        const rt_op *ops
    enum:
        RT_OK, RT_BAD_LENGTH

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(PyTypeObject *, cnp.dtype, int, cnp.npy_intp *, cnp.npy_intp *, void *, int, PyObject *)
    int PyArray_SetBaseObject(cnp.ndarray, object) except -1

cnp.import_array()

WRONG = ("", "an index lies outside of its axis", "sequence_lens", "an integer was divided by zero")

cdef enum:
    MAX_AXES = 8                   # of arrays on the fast path

cdef double THREAD_WORK = 1e6      # of a step (Emitted.work), for another thread to be worth it


cdef type np_ndarray = np.ndarray

cdef enum:
    END, CALL, BRANCH


cdef class Segment

include "operators.pxi"
include "tensor.pxi"
include "axes.pxi"
include "emitter.pxi"
include "views.pxi"
include "viewed.pxi"
include "pads.pxi"
include "chains.pxi"
include "products.pxi"
include "folding.pxi"
include "walk.pxi"
include "arena.pxi"
include "frame.pxi"
include "tuner.pxi"
include "segment.pxi"
include "short.pxi"
include "repeat.pxi"
include "repeated_step.pxi"
include "repeated_call.pxi"


cdef bint is_plain(object value):
    """Whether an array's elements are numbers that steps can read."""
    cdef cnp.ndarray array
    if not isinstance(value, np.ndarray):
        return False
    array = value
    return array.dtype.kind in "biufcV" and array.dtype.isnative and array.dtype.names is None and array.itemsize <= 16


@cython.final
cdef class Program:
    """A plan's segments.

    Parameters
    ----------
    bind : callable
        ``bind(signature)`` gives the first segment; a signature has ``(dtype, shape)`` for each input, or None for what is
        no array of numbers.
    """

    cdef object bind
    cdef readonly dict roots           # by signature, the one that was used last at the end
    cdef readonly int n_segments
    cdef size_t n_bytes                # of the roots
    cdef Segment last

    def __init__(self, bind):
        self.bind = bind
        self.roots = {}
        self.n_segments = self.n_bytes = 0
        self.last = None

    def run(self, values):
        """The outputs for `values`, one an input; arrays are fresh.

        Raises
        ------
        InputError
            If a step fails on what it is given.
        """
        cdef list given = list(values)
        return self.run_from(self.root_of(given), given, None)

    def run_again(self, tuple names not None, feeds):
        """The outputs, if the arrays in the dict `feeds` are of those names, dtypes and shapes that were run last; or None.

        It is the way for calls that repeat: what fits needs no other check.
        """
        return self.repeated(names, feeds)

    def run_named(self, tuple names not None, tuple outputs not None, feeds):
        """As `run_again`, the outputs by name."""
        cdef list results = self.repeated(names, feeds)
        cdef Py_ssize_t k
        if results is None or len(results) != len(outputs):
            return None
        return {outputs[k]: results[k] for k in range(len(outputs))}

    def repeat(self, list given not None, int n_carried, int64_t most, bint conditional, make, scanned=None, backward=None):
        """Run over and over, what comes out going in again (see `Repetition`).

        Parameters
        ----------
        given : list
            Inputs of the first iteration.
        n_carried : int
            Values handed from one iteration to the next.
        most : int
            Iterations to do, if none says that it is the last one.
        conditional : bool
            Whether one may say so.
        make : callable
            ``make(n, dtype, shape)``: an array for n slices of an output.
        scanned, backward : list, optional
            Of a Scan: C-contiguous arrays with the iterations along the first axis, and whether each is read backwards.

        Returns
        -------
        tuple or None
            The carried values, and the other outputs' slices stacked; None if it has to be done one iteration at a time.
        """
        return repeat(self.root_of(given), given, n_carried, scanned, backward, most, conditional, make)

    cdef list repeated(self, tuple names, feeds):
        cdef Segment root = self.last
        cdef list given
        cdef int k
        if root is None or type(feeds) is not dict or len(<dict> feeds) != root.n_read or len(names) != root.n_read:
            return None
        if root.is_short:
            return run_short(root, names, feeds)
        given = []
        for k in range(root.n_read):
            value = (<dict> feeds).get(names[k])
            if not fits(&root.read[k], value):
                return None
            given.append(value)
        return self.run_from(root, given, None)

    def profile(self, values):
        """As `run`; returns the outputs and a list of (segment, nanoseconds of each step, nanoseconds of its call)."""
        cdef list given = list(values)
        cdef list taken = []
        return self.run_from(self.root_of(given), given, taken), taken

    cdef Segment root_of(self, list given):
        cdef Segment root = self.last
        cdef cnp.ndarray array
        cdef int k
        cdef list signature = []
        if root is not None and root.n_read == len(given):
            for k in range(root.n_read):
                if not fits(&root.read[k], given[k]):
                    break
            else:
                return root
        for k in range(len(given)):
            value = given[k]
            if is_plain(value):
                array = value
                if not cnp.PyArray_ISCARRAY_RO(array):
                    given[k] = array = np.require(array, requirements=["C", "A"])
                signature.append((array.dtype, (<object> array).shape))
            else:
                signature.append(None)
        key = tuple(signature)
        root = self.roots.pop(key, None)
        if root is None:
            root = self.bind(key)
            root.remember(key)
            self.forget(key)           # another thread may have bound the same
            self.n_bytes += root.n_bytes
        self.roots[key] = root         # the last, as it was used last
        while len(self.roots) > (FEW_ROOTS if self.n_bytes > MOST_BYTES else MOST_ROOTS):
            self.forget(next(iter(self.roots)))
        self.last = root
        return root

    cdef int forget(self, key) except -1:
        """Drop the segment of a signature, if there is one."""
        cdef Segment root = self.roots.pop(key, None)
        if root is not None:
            self.n_bytes -= root.n_bytes
        return 0

    cdef list run_from(self, Segment root, list given, list taken):
        cdef Segment segment = root
        cdef Frame frame = root.take()
        cdef int k
        try:
            for k in range(len(given)):
                value = given[k]
                if root.read[k].type >= 0 or is_plain(value):
                    frame.hold(k + 1, <cnp.ndarray> value)
                else:
                    frame.objects[k] = value
            while True:
                frame.place(segment)
                if segment.kind == END:
                    make_outputs(segment, frame)
                if taken is None:
                    segment.execute(frame.values)
                else:
                    taken.append([segment, segment.time_steps(frame.values), 0])
                if segment.kind == END:
                    return deliver(segment, frame)
                if segment.drops:
                    for base in segment.drops:
                        frame.drop(base)
                segment = self.follow(segment, frame, taken)
        finally:
            root.give(frame)

    cdef Segment follow(self, Segment segment, Frame frame, list taken):
        """The segment after a call or a branch."""
        cdef int64_t before
        if segment.kind == BRANCH:
            key = truth(segment, frame)
        elif taken is None:
            key = call(segment, frame)
        else:
            before = nanoseconds()
            key = call(segment, frame)
            taken[len(taken) - 1][2] = nanoseconds() - before
        child = segment.children.get(key)
        if child is None:
            if self.n_segments >= MOST_SEGMENTS:
                self.roots.clear()
                self.n_segments = self.n_bytes = 0
                segment.children.clear()
            self.n_segments += 1
            child = segment.terminal.next(key)
            segment.children[key] = child
        return child


MOST_ROOTS = 256
MOST_BYTES = 64 << 20                  # of bound segments that are kept, unless they are few
FEW_ROOTS = 8
MOST_SEGMENTS = 1024


include "outcomes.pxi"
include "stepper.pxi"
include "calls.pxi"
