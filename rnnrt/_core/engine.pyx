# cython: language_level=3
"""The engine: picks an instruction set, packs a recurrent layer's weights, and runs it on NumPy arrays.

A `Recurrent` is immutable and may be run by several threads at once; each run borrows a workspace of its own.
"""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.string cimport memset

from rnnrt._core.kernels cimport (
    RT_BYTES_MOST, RT_GRU, RT_LSTM, RT_MEMBERS, RT_MEMORY, RT_RNN, rt_barrier, rt_barrier_set, rt_barrier_wait, rt_bytes,
    rt_call, rt_choice, rt_gate_step, rt_kernels, rt_layer, rt_matrix, rt_panel_vectors, rt_pool, rt_team_acquire, rt_team_run,
)

import os
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from rnnrt.errors import InputError, ModelError, UnsupportedError

cdef extern from "cpu.h" nogil:
    bint rt_cpu_has(const char *isa)
    long rt_l2_bytes()
    long rt_cached_bytes()
    uint64_t rt_fp_enter()
    void rt_fp_leave(uint64_t old)

cnp.import_array()

ISAS = ("avx512", "avx2", "neon", "baseline")
ACTIVATIONS = ("tanh", "sigmoid", "relu", "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu",
               "softsign", "softplus")     # in the order of vmath.h's enum
KINDS = {"LSTM": RT_LSTM, "GRU": RT_GRU, "RNN": RT_RNN}
N_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
N_FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}

# A guess at the time of a step: multiply-adds a nanosecond of one thread, and bytes of weights from the L2 cache and beyond.
cdef double MULTIPLY_RATE = 60
cdef double NEAR_RATE = 80
cdef double FAR_RATE = 20
# Nanoseconds that one thread must have to do, in all and between two barriers, for another to be worth waking.
cdef double THREAD_NS = 15e3
cdef double STEP_NS = 1e3
cdef int THREAD_ROWS = 4

cdef rt_pool shared_pool
shared_pool.acquire, shared_pool.run = rt_team_acquire, rt_team_run
pool = PyCapsule_New(&shared_pool, b"rnnrt.pool", NULL)      # for program.pyx: all of a process share one

tables = {}                                # name -> capsule of the instruction sets loaded so far


include "choose.pxi"


def cpu():
    """The instruction sets built in, present in this processor, and in use.

    Returns
    -------
    dict
        "built" and "present": lists of names, best first; "in_use": one of both. RNNRT_ISA in the environment forces it.
    """
    return {"built": built(), "present": present(), "in_use": in_use}


def apply(str name, x, isa=None):
    """exp, tanh or sigmoid of each element, by the vector words.

    Parameters
    ----------
    name : "exp", "tanh" or "sigmoid"
    x : array_like
        Any shape; float64 stays float64, anything else becomes float32.
    isa : str, optional
        Instruction set; the one in use by default.

    Returns
    -------
    numpy.ndarray
        Of x's shape. Error bounds stand in vmath.h. Denormal results are 0.
    """
    cdef cnp.ndarray a = np.ascontiguousarray(x, dtype=np.float64 if getattr(x, "dtype", None) == np.float64 else np.float32)
    cdef cnp.ndarray out = np.empty_like(a)
    cdef rt_kernels *kernels = table_of(isa, a.dtype)
    cdef uint64_t state
    if name not in ("exp", "tanh", "sigmoid"):
        raise InputError(f"function {name!r}: expected exp, tanh or sigmoid")
    state = rt_fp_enter()
    if name == "exp":
        kernels.map_exp(cnp.PyArray_DATA(a), cnp.PyArray_DATA(out), a.size)
    elif name == "tanh":
        kernels.map_tanh(cnp.PyArray_DATA(a), cnp.PyArray_DATA(out), a.size)
    else:
        kernels.map_sigmoid(cnp.PyArray_DATA(a), cnp.PyArray_DATA(out), a.size)
    rt_fp_leave(state)
    return out.reshape(np.shape(x))


include "memory.pxi"
include "pack.pxi"


cdef class Recurrent:
    """A recurrent layer, its weights packed for one instruction set.

    Parameters
    ----------
    kind : "LSTM", "GRU" or "RNN"
    W, R : numpy.ndarray
        [D, G*H, I] and [D, G*H, H], both float32 or both float64; gates in ONNX's order: LSTM i, o, f, c; GRU z, r, h.
    B : numpy.ndarray, optional
        [D, 2*G*H]: input biases, then recurrent ones.
    P : numpy.ndarray, optional
        [D, 3*H], LSTM: peepholes i, o, f.
    direction : "forward", "reverse" or "bidirectional"
    activations : sequence of str, optional
        Lower-case names, LSTM 3 (f, g, h), GRU 2 (f, g), RNN 1 a direction. `alpha` and `beta` hold a number for each.
    clip : float
        Bound of every activation's input; 0 means none.
    quantized : Quantized, optional
        LSTM: W and R are int8, with these scales and zero points; X as a whole, and at each step h of all rows together, are
        quantised as DynamicQuantizeLinear does it, and multiplied as bytes. On one thread.
    isa : str, optional
        Instruction set; the one in use by default. float64 has one for all.

    Raises
    ------
    ModelError
        Shapes or attributes that do not agree.
    """

    cdef rt_layer layers[2]
    cdef unsigned turns[2]
    cdef rt_kernels *kernels
    cdef object __weakref__
    cdef list blocks                       # the memory behind `layers`
    cdef list workspaces                   # idle ones, at most four
    cdef readonly str kind, direction, isa
    cdef readonly int num_directions, input_size, hidden_size
    cdef readonly object dtype
    cdef readonly bint quantized
    cdef readonly size_t nbytes
    cdef double step_work                  # multiply-adds of one step of one row

    def __init__(self, str kind, W, R, B=None, P=None, *, str direction="forward", activations=None, alpha=None, beta=None,
                 double clip=0.0, bint input_forget=False, bint linear_before_reset=False, quantized=None, isa=None):
        cdef int n, g, d
        if kind not in KINDS:
            raise ModelError(f"recurrent layer: expected LSTM, GRU or RNN, got {kind!r}")
        check_weights(kind, direction, W, R, B, P, quantized)
        g, n = N_GATES[kind], N_FUNCTIONS[kind]
        self.kind, self.direction, self.quantized = kind, direction, quantized is not None
        self.dtype = np.dtype(np.float32) if self.quantized else W.dtype
        self.num_directions, self.hidden_size, self.input_size = W.shape[0], R.shape[2], W.shape[2]
        self.kernels = table_of(isa, self.dtype)
        self.isa = self.kernels.isa.decode()
        self.blocks, self.workspaces, self.nbytes = [], [], 0
        self.step_work = <double> self.num_directions * g * self.hidden_size * (self.input_size + self.hidden_size)
        if activations is None:
            activations = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}[kind] * (
                self.num_directions)
        for d in range(self.num_directions):
            self.turns[d] = 0
            self.layers[d].turns = &self.turns[d]
            self.set_functions(&self.layers[d], list(activations[d * n:(d + 1) * n]), list(alpha or [0.0] * 6)[d * n:(d + 1) * n],
                               list(beta or [0.0] * 6)[d * n:(d + 1) * n])
            self.layers[d].clip, self.layers[d].input_forget = clip, input_forget
            self.layers[d].linear_before_reset, self.layers[d].quantized = linear_before_reset, self.quantized
            self.layers[d].plain &= clip == 0 and P is None and not input_forget
            self.pack(&self.layers[d], W[d], R[d], None if B is None else B[d], None if P is None else P[d])
            if self.quantized:
                pack_bytes(self, &self.layers[d].w_bytes, W[d], quantized.w_scale[d], quantized.w_zero[d])
                pack_bytes(self, &self.layers[d].r_bytes, R[d], quantized.r_scale[d], quantized.r_zero[d])

    cdef set_functions(self, rt_layer *layer, list names, list alpha, list beta):
        cdef int k
        expected = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}[self.kind]
        if len(names) != len(expected) or not set(names) <= set(ACTIVATIONS):
            raise ModelError(f"{self.kind}: activations: expected {len(expected)} a direction out of {', '.join(ACTIVATIONS)}; "
                             f"got {names}")
        layer.plain = names == expected
        for k in range(len(names)):
            layer.activation[k] = ACTIVATIONS.index(names[k])
            layer.alpha[k], layer.beta[k] = alpha[k], beta[k]

    cdef void *block(self, size_t n_elements) except NULL:
        """Zeroed memory for that many elements, owned by this layer."""
        cdef Block block = Block(n_elements * self.kernels.element_size, RT_LASTING)
        self.blocks.append(block)
        self.nbytes += block.size
        return block.data

    cdef pack(self, rt_layer *layer, W, R, B, P):
        """Put one direction's weights into panels (kernels.h)."""
        cdef int lanes = self.kernels.lanes, g = N_GATES[self.kind], h = self.hidden_size
        cdef bint split = self.kind == "GRU" and not layer.linear_before_reset
        cdef int per_panel = 4 if self.kind == "RNN" else 1
        cdef int first = len(self.blocks)
        layer.kind, layer.n_in, layer.n_hidden = KINDS[self.kind], self.input_size, h
        layer.n_blocks = (h + lanes - 1) // lanes
        n_k = self.input_size + (0 if split else h)
        if layer.quantized:            # its weights are packed as bytes
            self.shape(&layer.w, n_k, g, per_panel)
        else:
            self.matrix(&layer.w, n_k, g, per_panel)
            pack_panels(&layer.w, lanes, W, 0)
            if not split:
                pack_panels(&layer.w, lanes, R, self.input_size)
        if split:
            self.matrix(&layer.r_gates, h, 2, 2)
            pack_panels(&layer.r_gates, lanes, R[:2 * h], 0)
            self.matrix(&layer.r_hidden, h, 1, 4)
            pack_panels(&layer.r_hidden, lanes, R[2 * h:], 0)
        bias = np.zeros((g, h), self.dtype)
        bias_h = np.zeros(h, self.dtype)
        if B is not None:
            both = B.reshape(2, g, h)
            bias += both[0]
            if self.kind == "GRU" and not split:
                bias[:2] += both[1, :2]
                bias_h += both[1, 2]
            else:
                bias += both[1]
        layer.bias = self.biases(&layer.w, bias)
        layer.bias_h = self.blocked(bias_h[None], lanes) if self.kind == "GRU" and not split else NULL
        layer.peephole = NULL if P is None else self.blocked(P.reshape(3, h), lanes)
        layer.bounded = layer.plain and not layer.quantized and all_small(self.kernels, self.blocks[first:])

    cdef void *kept(self, cnp.ndarray array) except NULL:
        """A copy of a contiguous array, owned by this layer."""
        cdef void *p = self.block((array.nbytes + self.kernels.element_size - 1) // self.kernels.element_size)
        copy_bytes(p, array)
        return p

    cdef int shape(self, rt_matrix *m, int n_k, int n_gates, int per_panel) except -1:
        m.n_k, m.n_gates, m.per_panel, m.data = n_k, n_gates, per_panel, NULL
        cdef int lanes = self.kernels.lanes
        cdef int units, packed
        m.n_blocks = (self.hidden_size + lanes - 1) // lanes
        m.last, m.last_gate = n_gates * ((m.n_blocks - 1) % per_panel + 1), lanes
        if self.kind == "LSTM" and not self.quantized:
            units = self.hidden_size - (m.n_blocks - 1) * lanes
            packed = (n_gates * units + lanes - 1) // lanes
            if packed < n_gates:
                m.last, m.last_gate = packed, units
        return 0

    cdef int matrix(self, rt_matrix *m, int n_k, int n_gates, int per_panel) except -1:
        self.shape(m, n_k, n_gates, per_panel)
        cdef int panels = (m.n_blocks - 1) // per_panel          # but the last one
        m.data = self.block(<size_t> n_k * (panels * per_panel * n_gates + m.last) * self.kernels.lanes)
        return 0

    cdef void *biases(self, const rt_matrix *m, bias) except NULL:
        """[G, H] as the sums of a panel's gates lie."""
        cdef int lanes = self.kernels.lanes
        cdef int whole = (m.n_blocks - 1) * lanes
        blocks = np.zeros((m.n_blocks, m.n_gates * lanes), bias.dtype)
        for g in range(m.n_gates):
            blocks[:-1, g * lanes:(g + 1) * lanes] = bias[g, :whole].reshape(-1, lanes)
            blocks[-1, g * m.last_gate:g * m.last_gate + self.hidden_size - whole] = bias[g, whole:]
        return self.kept(blocks)

    cdef void *blocked(self, vectors, int lanes) except NULL:
        """[V, H] as [n_blocks][V][lanes]."""
        v, h = vectors.shape
        padded = np.zeros((v, (h + lanes - 1) // lanes * lanes), vectors.dtype)
        padded[:, :h] = vectors
        return self.kept(np.ascontiguousarray(padded.reshape(v, -1, lanes).transpose(1, 0, 2)))

    def run(self, x, sequence_lens, initial_h, initial_c, y, y_h, y_c, trace=None, int threads=1):
        """Run the layer.

        Parameters
        ----------
        x : numpy.ndarray
            [T, B, I].
        sequence_lens : numpy.ndarray or None
            [B] int32, each in 0..T.
        initial_h, initial_c : numpy.ndarray or None
            [D, B, H]; None means zeros.
        y, y_h, y_c : numpy.ndarray or None
            Written: [T, D, B, H], [D, B, H] and [D, B, H].
        trace : numpy.ndarray or None
            Written: [T, D, B, S, H], the activated gates in ONNX's order; an LSTM's cell state comes as a fifth.
        threads : int
            Threads to use at most; fewer where more would not be faster.

        All arrays are of the layer's dtype, with any strides but a contiguous last axis. What is written must not overlap
        what is read.

        Raises
        ------
        InputError
            An array that does not fit.
        """
        cdef rt_call calls[2]
        cdef rt_call *call
        cdef int d
        if not isinstance(x, np.ndarray) or (<cnp.ndarray> x).ndim != 3:
            raise InputError(f"{self.kind}: input X: expected an array of shape (T, B, {self.input_size}), got {np.shape(x)}")
        n_time, n_batch = x.shape[0], x.shape[1]
        if max(n_time, n_batch) > 0x7FFFFFFE:
            raise InputError(f"{self.kind}: input X: at most 2**31 - 2 steps and rows, got {n_time} and {n_batch}")
        directions, hidden = self.num_directions, self.hidden_size
        slots = 5 if self.kind == "LSTM" else N_GATES[self.kind]
        state = (directions, n_batch, hidden)
        self.check("X", x, (n_time, n_batch, self.input_size))
        self.check("initial_h", initial_h, state)
        self.check("initial_c", initial_c, state)
        self.check("Y", y, (n_time, directions, n_batch, hidden), True)
        self.check("Y_h", y_h, state, True)
        self.check("Y_c", y_c, state, True)
        self.check("trace", trace, (n_time, directions, n_batch, slots, hidden), True)
        lengths = None if sequence_lens is None else self.check_lengths(sequence_lens, n_time, n_batch)
        memset(calls, 0, sizeof(calls))
        for d in range(directions):
            call = &calls[d]
            call.n_time, call.n_batch = n_time, n_batch
            call.reverse = self.direction == "reverse" or d == 1
            call.x = data_at(x, -1, 0)
            call.ldx_t, call.ldx_b = stride(x, 0), stride(x, 1)
            if lengths is not None:
                call.lengths = <const int *> data_at(lengths, -1, 0)
            if initial_h is not None:
                call.h0, call.ldh0 = data_at(initial_h, 0, d), stride(initial_h, 1)
            if initial_c is not None:
                call.c0, call.ldc0 = data_at(initial_c, 0, d), stride(initial_c, 1)
            if y is not None:
                call.y, call.ldy_t, call.ldy_b = data_at(y, 1, d), stride(y, 0), stride(y, 2)
            if y_h is not None:
                call.y_h, call.ldy_h = data_at(y_h, 0, d), stride(y_h, 1)
            if y_c is not None:
                call.y_c, call.ldy_c = data_at(y_c, 0, d), stride(y_c, 1)
            if trace is not None:
                call.trace, call.ldtrace_t, call.ldtrace_b = data_at(trace, 1, d), stride(trace, 0), stride(trace, 2)
        run_team(self, calls, 1 if self.quantized else threads)

    def bound(self, int n_time, int n_batch, int threads=1):
        """What a bound step needs of the layer (bound.pxi).

        Parameters
        ----------
        n_time, n_batch : int
            Steps and rows of the call.
        threads : int
            Threads to use at most; fewer where more would not be faster.

        Returns
        -------
        function, words, size, work, threads
            The address of the step's function, the words that its words begin with, the bytes of workspace that it
            needs, the multiply-adds that it does, and the threads that it may use.
        """
        cdef rt_call calls[2]
        cdef double work = self.step_work * n_time * n_batch
        cdef int wanted = useful_threads(self.kernels, self.layers, self.num_directions, n_time, n_batch,
                                         1 if self.quantized else threads)
        cdef int d
        memset(calls, 0, sizeof(calls))
        for d in range(self.num_directions):
            calls[d].n_time, calls[d].n_batch = n_time, n_batch
        size = team_size(self.kernels, self.layers, self.num_directions, calls, wanted)
        words = [<size_t> self.kernels, <size_t> &self.layers[0], self.num_directions, int(self.direction == "reverse"),
                 wanted, n_time, n_batch, float(work)]
        return <size_t> run_bound, words, size, work, wanted

    cdef check(self, str name, a, tuple shape, bint written=False):
        if a is None:
            return
        if not isinstance(a, np.ndarray) or a.shape != shape:
            raise InputError(f"{self.kind}: {name}: expected shape {shape}, got {np.shape(a)}")
        if a.dtype != self.dtype or not a.flags.aligned or (
                a.size and a.shape[a.ndim - 1] > 1 and a.strides[a.ndim - 1] != a.itemsize):
            raise InputError(f"{self.kind}: {name}: expected aligned {self.dtype} with a contiguous last axis, got {a.dtype} "
                             f"with strides {a.strides}")
        if written and not a.flags.writeable:
            raise InputError(f"{self.kind}: {name}: expected an array that can be written, got a read-only one")

    cdef check_lengths(self, lengths, n_time, n_batch):
        lengths = np.asarray(lengths)
        if lengths.shape != (n_batch,) or lengths.dtype.kind not in "iu":
            raise InputError(f"{self.kind}: sequence_lens: expected integers of shape {(n_batch,)}, got {lengths.dtype} "
                             f"{lengths.shape}")
        if n_batch and (lengths.min() < 0 or lengths.max() > n_time):
            raise InputError(f"{self.kind}: sequence_lens: expected lengths in 0..{n_time}, got {lengths.min()}..{lengths.max()}")
        return np.ascontiguousarray(lengths, dtype=np.int32)


include "pack_bytes.pxi"
include "team.pxi"
include "bound.pxi"
include "wavefront.pxi"
include "describe.pxi"
include "same.pxi"
