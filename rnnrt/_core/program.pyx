# cython: language_level=3
"""The executor: bound steps, run one after the other without going back to Python.

A `Segment` is a run of steps that are known before they run. It ends in one of three ways: with the outputs of the plan,
with a call of a Python function (an operator of the NumPy tier), or at a branch. What follows a call or a branch depends
on what comes out of it, shapes or a truth value, so each outcome has a segment of its own, which is bound when it first
occurs. A `Program` holds the first segments, one for each combination of input shapes seen.

Memory is named by bases: 0 is the address NULL, then come the inputs, and each segment on the way adds its arena and
what its call returns, or the outputs.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from rnnrt._core.kernels cimport rt_pool

from importlib import import_module

import numpy as np

from rnnrt._core import engine
from rnnrt.errors import InputError

cdef extern from "cpu.h" nogil:
    uint64_t rt_fp_enter()
    void rt_fp_leave(uint64_t old)

cdef extern from "ops.h" nogil:
    ctypedef int (*rt_op_run)(const int64_t *, char *const *, int, int) noexcept nogil
    ctypedef struct rt_op:
        const char *name
        rt_op_run run
        int n_words, splits
    ctypedef struct rt_ops:
        const char *isa
        int lanes, n_ops
        const rt_op *ops
    enum:
        RT_OK

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(PyTypeObject *, cnp.dtype, int, cnp.npy_intp *, cnp.npy_intp *, void *, int, PyObject *)
    int PyArray_SetBaseObject(cnp.ndarray, object) except -1

cnp.import_array()

WRONG = ("", "an index lies outside of its axis", "a sequence length lies outside of 0..T", "an integer was divided by zero")

# A segment of less work (Emitted.work) keeps the GIL: it is over in some microseconds.
cdef double GIL_WORK = 5e4
cdef double THREAD_WORK = 1e6


cdef union word_t:
    double number
    int64_t bits


cdef rt_ops *table_of(str isa) except NULL:
    return <rt_ops *> PyCapsule_GetPointer(import_module(f"rnnrt._core.ops_{isa}").ops, b"rnnrt.ops")


cdef rt_ops *ops_in_use = table_of(engine.in_use)
cdef rt_pool *pool = <rt_pool *> PyCapsule_GetPointer(engine.pool, b"rnnrt.pool")
LANES = ops_in_use.lanes
_by_name = {ops_in_use.ops[k].name.decode(): k for k in range(ops_in_use.n_ops)}


def operators():
    """Names of the native operators, with the number of their words; 0 where that varies."""
    return {name: ops_in_use.ops[k].n_words for name, k in _by_name.items()}


def apply(str name, list words, isa=None, int part=0, int n_parts=1):
    """Run one operator by itself.

    Parameters
    ----------
    name : str
        One of `operators()`.
    words : list
        Integers, floats, and arrays, which are two words. They must fit the operator: nothing is checked here but their
        number.
    isa : str, optional
        Instruction set; the one in use by default.
    part, n_parts : int
        Which part, of how many.

    Returns
    -------
    str
        What is wrong with the values; empty if nothing is.
    """
    cdef rt_ops *table = table_of(engine.choose(isa) if isa else engine.in_use)
    cdef const rt_op *op = &table.ops[<int> _by_name[name]]
    cdef char *values[1]
    cdef word_t word
    cdef int64_t *memory = <int64_t *> malloc((2 * len(words) + 1) * sizeof(int64_t))
    cdef int n = 0
    cdef int wrong
    cdef uint64_t state
    if memory == NULL:
        raise MemoryError("rnnrt: no memory for a step")
    try:
        for item in words:
            if isinstance(item, np.ndarray):
                memory[n] = 0
                memory[n + 1] = <int64_t> cnp.PyArray_DATA(<cnp.ndarray> item)
                n += 2
                continue
            if isinstance(item, float):
                word.number = item
                memory[n] = word.bits
            else:
                memory[n] = item
            n += 1
        if op.n_words and n != op.n_words:
            raise AssertionError(f"operator {name}: expected {op.n_words} words, got {n}")
        values[0] = NULL
        state = rt_fp_enter()
        wrong = op.run(memory, values, part, n_parts)
        rt_fp_leave(state)
        return WRONG[wrong]
    finally:
        free(memory)


cdef struct step_t:
    rt_op_run run
    const int64_t *words
    int n_parts


cdef class Block:
    """Memory aligned to cache lines, freed with the object."""

    cdef void *data

    def __cinit__(self, size_t size):
        if posix_memalign(&self.data, 64, max(size, <size_t> 64)) != 0:
            self.data = NULL
            raise MemoryError(f"rnnrt: no memory for {size} bytes")

    def __dealloc__(self):
        free(self.data)


cdef class Frame:
    """What one run holds: the addresses of the bases, and the objects that own them."""

    cdef char **values
    cdef int n_values
    cdef list owners
    cdef dict objects
    cdef dict blocks               # segment -> its arena

    def __cinit__(self):
        self.values = NULL
        self.n_values = 0
        self.owners, self.objects, self.blocks = [], {}, {}

    def __dealloc__(self):
        free(self.values)

    cdef int grow(self, int n) except -1:
        cdef char **values
        if n > self.n_values:
            values = <char **> realloc(self.values, n * sizeof(char *))
            if values == NULL:
                raise MemoryError("rnnrt: no memory for a run")
            memset(values + self.n_values, 0, (n - self.n_values) * sizeof(char *))
            self.owners.extend([None] * (n - self.n_values))
            self.values, self.n_values = values, n
        return 0

    cdef void forget(self):
        """Let go of the arrays of a run; arenas are kept for the next."""
        cdef int k
        for k in range(self.n_values):
            if type(self.owners[k]) is not Block:
                self.owners[k] = None
        if self.objects:
            self.objects.clear()


cdef class Segment:
    """Bound steps and what comes after them.

    Parameters
    ----------
    steps : list of rnnrt.native.emitter.Emitted
    arena_size : int
        Bytes; the arena is base `arena_base`.
    n_bases : int
        Bases in use once the segment has ended.
    terminal : rnnrt.bind.End, Call or Branch
        What comes then.
    keep : list
        What the steps' words point into.
    """

    cdef step_t *steps
    cdef int64_t *words
    cdef readonly int n_steps, arena_base, n_bases
    cdef readonly size_t arena_size
    cdef readonly double work
    cdef bint releases
    cdef readonly list labels, names, works
    cdef readonly object terminal
    cdef readonly dict children
    cdef object keep
    cdef int kind, first_base
    cdef list outputs               # (dtype, shape) of an End's arrays, or None
    cdef list frames

    def __cinit__(self):
        self.steps, self.words = NULL, NULL

    def __dealloc__(self):
        free(self.steps)
        free(self.words)

    def __init__(self, list steps, size_t arena_size, int arena_base, int n_bases, terminal, list keep, int threads=1):
        cdef size_t n_words = 0
        cdef size_t at = 0
        cdef step_t *step
        for emitted in steps:
            n_words += 2 * len(emitted.words)
        self.steps = <step_t *> malloc(max(1, len(steps)) * sizeof(step_t))
        self.words = <int64_t *> malloc(max(<size_t> 1, n_words) * sizeof(int64_t))
        if self.steps == NULL or self.words == NULL:
            raise MemoryError("rnnrt: no memory for a plan")
        self.n_steps, self.arena_size, self.arena_base, self.n_bases = len(steps), arena_size, arena_base, n_bases
        self.terminal, self.children, self.frames, self.work = terminal, {}, [], 0
        self.labels, self.names, self.works = [], [], []
        self.keep = keep
        for k, emitted in enumerate(steps):
            step = &self.steps[k]
            step.words = self.words + at
            step.n_parts = 1
            at += write_words(self.words + at, emitted.words, keep)
            if type(emitted.op) is int:
                step.run = <rt_op_run> <size_t> emitted.op
            else:
                self.choose(step, emitted.op, self.words + at - step.words, emitted.work, threads)
            self.work += emitted.work
            self.labels.append(emitted.label)
            self.names.append(emitted.op if type(emitted.op) is str else "recurrent")
            self.works.append(emitted.work)
        self.releases = self.work >= GIL_WORK
        self.kind, self.first_base = terminal.kind, terminal.first_base
        self.outputs = terminal.outputs

    cdef int choose(self, step_t *step, str name, ptrdiff_t n_words, double work, int threads) except -1:
        cdef const rt_op *op = &ops_in_use.ops[<int> _by_name[name]]
        if op.n_words and op.n_words != n_words:
            raise AssertionError(f"operator {name}: expected {op.n_words} words, got {n_words}")
        step.run = op.run
        if op.splits:
            step.n_parts = <int> max(1.0, min(<double> threads, work / THREAD_WORK))
        return 0

    cdef int execute(self, char **values) except -1:
        cdef int k = 0
        cdef int wrong
        cdef uint64_t state
        if self.n_steps:
            if self.releases:
                with nogil:
                    wrong = run_steps(self.steps, self.n_steps, values, &k)
            else:
                wrong = run_steps(self.steps, self.n_steps, values, &k)
            if wrong != RT_OK:
                raise InputError(f"{self.labels[k]}: {WRONG[wrong]}")
        return 0

    cdef list time_steps(self, char **values):
        """As execute, one step at a time; nanoseconds of each."""
        cdef int k, at, wrong
        cdef timespec before, after
        cdef list taken = []
        for k in range(self.n_steps):
            clock_gettime(CLOCK_MONOTONIC, &before)
            with nogil:
                wrong = run_steps(self.steps + k, 1, values, &at)
            clock_gettime(CLOCK_MONOTONIC, &after)
            if wrong != RT_OK:
                raise InputError(f"{self.labels[k]}: {WRONG[wrong]}")
            taken.append((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec)
        return taken


cdef ptrdiff_t write_words(int64_t *target, list words, list keep) except -1:
    """Words as a step has them in memory; returns how many."""
    cdef ptrdiff_t n = 0
    cdef word_t word
    for item in words:
        if type(item) is int:
            target[n] = item
        elif type(item) is float:
            word.number = item
            target[n] = word.bits
        else:
            buffer = item.buffer
            base, offset = buffer.place()
            target[n] = base
            n += 1
            target[n] = offset + item.offset * <int64_t> item.dtype.itemsize
            if base == 0:
                keep.append(buffer.root().keep)
        n += 1
    return n


cdef struct part_t:
    const step_t *step
    char **values
    int n_parts
    int wrong


cdef void run_part(void *arg, int member) noexcept nogil:
    cdef part_t *job = <part_t *> arg
    cdef int wrong = job.step.run(job.step.words, job.values, member, job.n_parts)
    if wrong != RT_OK:
        job.wrong = wrong


cdef int run_parts(const step_t *step, char **values) noexcept nogil:
    cdef int members[64]
    cdef part_t job
    job.step, job.values, job.wrong = step, values, RT_OK
    job.n_parts = pool.acquire(min(step.n_parts, 64), members)
    pool.run(members, job.n_parts, run_part, &job)
    return job.wrong


cdef int run_steps(const step_t *steps, int n, char **values, int *at) noexcept nogil:
    """Run steps until one finds something wrong; which one is put to `at`."""
    cdef uint64_t state = rt_fp_enter()
    cdef int k
    cdef int wrong = RT_OK
    for k in range(n):
        if steps[k].n_parts > 1:
            wrong = run_parts(&steps[k], values)
        else:
            wrong = steps[k].run(steps[k].words, values, 0, 1)
        if wrong != RT_OK:
            at[0] = k
            break
    rt_fp_leave(state)
    return wrong


cdef enum:
    END, CALL, BRANCH


cdef bint is_plain(object value):
    """Whether an array's elements are numbers that steps can read."""
    cdef cnp.ndarray array
    if not isinstance(value, np.ndarray):
        return False
    array = value
    return array.dtype.kind in "biufcV" and array.dtype.isnative and array.dtype.names is None and array.itemsize <= 16


cdef class Program:
    """A plan's segments.

    Parameters
    ----------
    bind : callable
        ``bind(signature)`` gives the first segment; a signature has ``(dtype, shape)`` for each input, or None for what is
        no array of numbers.
    """

    cdef object bind
    cdef readonly dict roots
    cdef Segment last
    cdef list last_inputs
    cdef readonly int n_segments

    def __init__(self, bind):
        self.bind = bind
        self.roots = {}
        self.last = None
        self.n_segments = 0

    def run(self, values):
        """The outputs for `values`, one an input; arrays are fresh.

        Raises
        ------
        InputError
            If a step fails on what it is given.
        """
        cdef list given = list(values)
        cdef Segment root = self.root_of(given)
        return self.run_from(root, given, None)

    def profile(self, values):
        """As `run`; returns the outputs and a list of (segment, nanoseconds of each step, nanoseconds of its call)."""
        cdef list given = list(values)
        cdef list taken = []
        return self.run_from(self.root_of(given), given, taken), taken

    cdef Segment root_of(self, list given):
        cdef cnp.ndarray array
        cdef int k
        cdef list signature = []
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
        root = self.roots.get(key)
        if root is None:
            if len(self.roots) >= MOST_ROOTS:
                del self.roots[next(iter(self.roots))]
            root = self.bind(key)
            self.roots[key] = root
        return root

    cdef list run_from(self, Segment root, list given, list taken):
        cdef Segment segment = root
        cdef Frame frame
        cdef list results
        try:
            frame = root.frames.pop()
        except IndexError:
            frame = Frame()
        frame.grow(len(given) + 1)
        try:
            for k in range(len(given)):
                value = given[k]
                if is_plain(value):
                    frame.owners[k + 1] = value
                    frame.values[k + 1] = <char *> cnp.PyArray_DATA(<cnp.ndarray> value)
                else:
                    frame.objects[k] = value
            while True:
                prepare(segment, frame)
                if segment.kind == END:
                    make_outputs(segment, frame)
                if taken is None:
                    segment.execute(frame.values)
                else:
                    taken.append([segment, segment.time_steps(frame.values), 0])
                if segment.kind == END:
                    return deliver(segment, frame)
                segment = self.follow(segment, frame, taken)
        finally:
            frame.forget()
            if len(root.frames) < 4:
                root.frames.append(frame)

    cdef Segment follow(self, Segment segment, Frame frame, list taken):
        """The segment after a call or a branch."""
        cdef timespec before, after
        if segment.kind == BRANCH:
            key = truth(segment, frame)
        else:
            clock_gettime(CLOCK_MONOTONIC, &before)
            key = call(segment, frame)
            clock_gettime(CLOCK_MONOTONIC, &after)
            if taken is not None:
                taken[len(taken) - 1][2] = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec
        child = segment.children.get(key)
        if child is None:
            if self.n_segments >= MOST_SEGMENTS:
                self.roots.clear()
                self.n_segments = 0
                segment.children.clear()
            self.n_segments += 1
            child = segment.terminal.next(key)
            segment.children[key] = child
        return child


MOST_ROOTS = 32
MOST_SEGMENTS = 1024


cdef int prepare(Segment segment, Frame frame) except -1:
    """Room for the segment's bases, and its arena."""
    cdef Block block
    frame.grow(segment.n_bases)
    if segment.arena_size:
        block = frame.blocks.get(segment)
        if block is None:
            block = frame.blocks[segment] = Block(segment.arena_size)
        frame.owners[segment.arena_base] = block
        frame.values[segment.arena_base] = <char *> block.data
    return 0


cdef int make_outputs(Segment segment, Frame frame) except -1:
    cdef cnp.ndarray array
    cdef int k = 0
    for entry in segment.outputs:
        if entry is not None:
            array = np.empty(entry[1], entry[0])
            frame.owners[segment.first_base + k] = array
            frame.values[segment.first_base + k] = <char *> cnp.PyArray_DATA(array)
        k += 1
    return 0


cdef list deliver(Segment segment, Frame frame):
    cdef list results = []
    cdef int k = 0
    for entry in segment.outputs:
        if entry is not None:
            results.append(frame.owners[segment.first_base + k])
        else:
            index = segment.terminal.objects[k]
            results.append(None if index is None else frame.objects[index])
        k += 1
    return results


cdef object argument(Frame frame, object item):
    """What a Python function gets: an array over the memory of a tensor, a constant, an object, or None."""
    cdef cnp.npy_intp dims[32]
    cdef cnp.npy_intp steps[32]
    cdef cnp.ndarray array
    cdef int k, n
    if item is None:
        return None
    kind, what = item
    if kind == "value":
        return what
    if kind == "object":
        return frame.objects[what]
    base, offset, dtype, shape, strides = what
    n = len(shape)
    for k in range(n):
        dims[k] = shape[k]
        steps[k] = strides[k]
    cdef cnp.dtype descr = dtype
    owner = frame.owners[<int> base]
    Py_INCREF(descr)
    array = PyArray_NewFromDescr(&PyArray_Type, descr, n, dims, steps, frame.values[<int> base] + <ptrdiff_t> offset, 0, NULL)
    Py_INCREF(owner)
    PyArray_SetBaseObject(array, owner)
    return array


cdef tuple call(Segment segment, Frame frame):
    """Call the Python function, keep what it returns, and say what it is: (dtype, shape) or None for each."""
    cdef list key = []
    cdef cnp.ndarray array
    cdef int k
    terminal = segment.terminal
    results = terminal.call([argument(frame, item) for item in terminal.arguments])
    for k in range(terminal.n_results):
        value = results[k] if k < len(results) else None
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if is_plain(value):
            array = value
            if not cnp.PyArray_ISCARRAY_RO(array):
                array = np.require(array, requirements=["C", "A"])
            frame.owners[segment.first_base + k] = array
            frame.values[segment.first_base + k] = <char *> cnp.PyArray_DATA(array)
            key.append((array.dtype, (<object> array).shape))
        else:
            frame.objects[terminal.first_object + k] = value
            key.append(None)
    return tuple(key)


cdef bint truth(Segment segment, Frame frame) except -1:
    """Whether the element that a branch depends on is other than zero."""
    cdef const char *p
    cdef int k
    base, offset, size = segment.terminal.condition
    p = frame.values[<int> base] + <ptrdiff_t> offset
    for k in range(<int> size):
        if p[k] != 0:
            return True
    return False
