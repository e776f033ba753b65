# What an instruction set offers: the table of kernels.h, handed out as a capsule. Included by cells_<isa>.pyx after call.pxi.

from cpython.pycapsule cimport PyCapsule_New

ctypedef vf (*word_fn)(vf x) noexcept nogil


cdef inline void map_word(word_fn word, const real *x, real *y, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i
    cdef int rest = <int> (n % LANES)
    for i in range(n // LANES):
        v_store(y + i * LANES, word(v_load(x + i * LANES)))
    if rest:
        v_store_n(y + n - rest, word(v_load_n(x + n - rest, rest)), rest)


cdef int small(const void *x, ptrdiff_t n) noexcept nogil:
    return panel_small(<const real *> x, n)


cdef void map_exp(const void *x, void *y, ptrdiff_t n) noexcept nogil:
    map_word(v_exp, <const real *> x, <real *> y, n)


cdef void map_sigmoid(const void *x, void *y, ptrdiff_t n) noexcept nogil:
    map_word(v_sigmoid, <const real *> x, <real *> y, n)


cdef void map_tanh(const void *x, void *y, ptrdiff_t n) noexcept nogil:
    map_word(v_tanh, <const real *> x, <real *> y, n)


cdef rt_kernels table
table.isa = RT_ISA
table.lanes = LANES
table.element_size = sizeof(real)
table.choose = choose
table.work_size = work_size
table.run = run
table.small = small
table.map_exp = map_exp
table.map_sigmoid = map_sigmoid
table.map_tanh = map_tanh

kernels = PyCapsule_New(&table, b"rnnrt.kernels", NULL)
