# Weights into panels: the layout stands in kernels.h. Included by engine.pyx.

from rnnrt._core.kernels cimport rt_fetch

cdef extern from "string.h" nogil:
    void *memcpy(void *to, const void *source, size_t n)

cdef extern from "transpose.h" nogil:
    void rt_transpose_f32(const float *source, ptrdiff_t ldsource, float *to, ptrdiff_t ldto, int n_rows, int n_columns)
    void rt_transpose_f64(const double *source, ptrdiff_t ldsource, double *to, ptrdiff_t ldto, int n_rows, int n_columns)

ctypedef fused element:
    float
    double


cdef enum:
    TILE = 16
    BAND = 64                          # rows of a tile that is turned


cdef void copy_bytes(void *to, cnp.ndarray source):
    memcpy(to, cnp.PyArray_DATA(source), source.nbytes)


cdef void *data_at(cnp.ndarray a, int axis, int index):
    """Address of a's first element, or of that of a[index] along `axis`."""
    cdef char *p = <char *> cnp.PyArray_DATA(a)
    return p if axis < 0 else p + index * cnp.PyArray_STRIDES(a)[axis]


cdef ptrdiff_t stride(cnp.ndarray a, int axis):
    """Stride in elements."""
    return cnp.PyArray_STRIDES(a)[axis] // cnp.PyArray_ITEMSIZE(a)


cdef void fill_panels(const rt_matrix *m, int lanes, int n_hidden, int k0, const element[:, ::1] weights,
                      element *out) noexcept nogil:
    """Columns k0 ... of every panel from weights [G*H, K].

    In tiles of TILE columns, a cache line of each row: what a tile reads is read once, what it writes stays in the cache. The
    processor sees no order in that, so the tile after the next is asked for, which halves the time.
    """
    cdef ptrdiff_t width, first, panel_start
    cdef int block, panel, b, g, gate, n_units, n_columns, row, unit
    cdef element *to
    for block in range(m.n_blocks):
        panel = block // m.per_panel
        b = block % m.per_panel
        width = lanes * <ptrdiff_t> rt_panel_vectors(m, panel)
        gate = rt_gate_step(m, block, lanes)
        panel_start = <ptrdiff_t> panel * m.n_k * m.per_panel * m.n_gates * lanes
        n_units = min(lanes, n_hidden - block * lanes)
        first = 0
        while first < weights.shape[1]:
            n_columns = <int> min(<ptrdiff_t> TILE, weights.shape[1] - first)
            for g in range(m.n_gates):
                row = g * n_hidden + block * lanes
                if first + 3 * TILE <= weights.shape[1]:
                    for unit in range(n_units):
                        rt_fetch(&weights[row + unit, first + 2 * TILE], TILE * sizeof(element))
                to = out + panel_start + (k0 + first) * width + b * m.n_gates * lanes + g * gate
                if element is float:
                    rt_transpose_f32(&weights[row, first], weights.shape[1], to, width, n_units, n_columns)
                else:
                    rt_transpose_f64(&weights[row, first], weights.shape[1], to, width, n_units, n_columns)
            first += TILE


def put_transposed(cnp.ndarray target not None, cnp.ndarray source not None):
    """``target[...] = source.T`` for two matrices; by tiles where both are float32 with elements of a row side by side."""
    cdef ptrdiff_t n_rows, n_columns, row, column
    cdef ptrdiff_t ldsource, ldtarget
    cdef const float *p
    cdef float *q
    if target.ndim != 2 or (<object> target).shape != (<object> source).shape[::-1]:
        raise ValueError(f"expected a matrix of shape {(<object> source).shape[::-1]}, got {(<object> target).shape}")
    if not (target.dtype == source.dtype == np.float32 and target.strides[1] == source.strides[1] == 4 and
            cnp.PyArray_ISBEHAVED(target) and cnp.PyArray_ISBEHAVED_RO(source)):
        target[...] = source.T
        return
    n_rows, n_columns = source.shape[0], source.shape[1]
    ldsource, ldtarget = stride(source, 0), stride(target, 0)
    p, q = <const float *> cnp.PyArray_DATA(source), <float *> cnp.PyArray_DATA(target)
    for row in range((n_rows + BAND - 1) // BAND):
        for column in range((n_columns + TILE - 1) // TILE):
            rt_transpose_f32(
                p + row * BAND * ldsource + column * TILE, ldsource, q + column * TILE * ldtarget + row * BAND, ldtarget,
                <int> min(<ptrdiff_t> BAND, n_rows - row * BAND), <int> min(<ptrdiff_t> TILE, n_columns - column * TILE),
            )


cdef bint all_small(const rt_kernels *kernels, list blocks):
    """Whether all weights and biases are so small that they, and inputs that are, too, make no sum overflow."""
    for block in blocks:
        if not kernels.small((<Block> block).data, (<Block> block).size // kernels.element_size):
            return False
    return True


cdef pack_panels(rt_matrix *m, int lanes, weights, int k0):
    """Write `weights` [G*H, K] as columns k0 ... of the panels, whose padding is zero already."""
    cdef const float[:, ::1] single
    cdef const double[:, ::1] double_
    cdef int n_hidden = weights.shape[0] // m.n_gates
    weights = np.ascontiguousarray(weights)
    if weights.dtype == np.float32:
        single = weights
        with nogil:
            fill_panels(m, lanes, n_hidden, k0, single, <float *> m.data)
    else:
        double_ = weights
        with nogil:
            fill_panels(m, lanes, n_hidden, k0, double_, <double *> m.data)


cdef check_weights(str kind, str direction, W, R, B, P, quantized=None):
    """Raise ModelError unless the weights' shapes and dtypes agree with each other."""
    g = N_GATES[kind]
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction)
    if directions is None:
        raise ModelError(f"{kind}: direction: expected forward, reverse or bidirectional, got {direction!r}")
    real = np.dtype(np.float32) if quantized is not None else W.dtype
    if quantized is not None:
        check_quantized(kind, W, R, quantized)
    elif W.dtype not in (np.float32, np.float64):
        raise ModelError(f"{kind}: W: expected float32 or float64, got {W.dtype}")
    if R.ndim != 3 or R.shape[2] == 0:
        raise ModelError(f"{kind}: R: expected shape ({directions}, {g}*H, H), got {R.shape}")
    h = R.shape[2]
    i = W.shape[2] if W.ndim == 3 else "I"
    expected = {"W": (W, W.dtype, (directions, g * h, i)), "R": (R, W.dtype, (directions, g * h, h)),
                "B": (B, real, (directions, 2 * g * h)), "P": (P, real, (directions, 3 * h))}
    for name, (array, dtype, shape) in expected.items():
        if array is None:
            continue
        if array.shape != shape:
            raise ModelError(f"{kind}: {name}: expected shape {shape} for hidden size {h}, got {array.shape}")
        if array.dtype != dtype:
            raise ModelError(f"{kind}: {name}: expected {dtype} as W, got {array.dtype}")
    if P is not None and kind != "LSTM":
        raise ModelError(f"{kind}: peepholes belong to LSTM alone")
