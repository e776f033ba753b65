# The declarations of kernels.h; its comments say what each field means.

from libc.stdint cimport int8_t, int32_t

cdef extern from "threads.h" nogil:
    enum:
        RT_MEMBERS
    ctypedef struct rt_barrier:
        int n_members
    ctypedef void (*rt_task)(void *, int) noexcept nogil
    int rt_team_acquire(int wanted, int *members)
    void rt_team_run(const int *members, int n_members, rt_task task, void *arg)
    void rt_fetch(const void *p, ptrdiff_t n)
    void rt_claim(void *p, ptrdiff_t n)
    void rt_barrier_set(rt_barrier *, int n_members)
    void rt_barrier_wait(rt_barrier *, int member)
    ctypedef struct rt_pool:
        int (*acquire)(int, int *) noexcept nogil
        void (*run)(const int *, int, rt_task, void *) noexcept nogil

cdef extern from "kernels.h" nogil:
    enum:
        RT_LSTM, RT_GRU, RT_RNN, RT_BYTES_MOST, RT_NEAR, RT_FAR, RT_NEXT, RT_MEMORY

    ctypedef struct rt_matrix:
        void *data
        int n_k, n_gates, per_panel, n_blocks, last, last_gate

    ctypedef struct rt_bytes:
        const int8_t *data
        const int32_t *sums
        const int32_t *zeros
        const float *scales
        int n_k4

    ctypedef struct rt_layer:
        int kind, n_in, n_hidden, n_blocks
        int linear_before_reset, input_forget
        int plain
        int bounded
        int activation[3]
        int quantized
        double alpha[3]
        double beta[3]
        double clip
        rt_matrix w, r_gates, r_hidden
        rt_bytes w_bytes, r_bytes
        void *bias
        void *bias_h
        void *peephole
        unsigned *turns

    int rt_panel_vectors(const rt_matrix *, int) noexcept nogil
    int rt_gate_step(const rt_matrix *, int, int) noexcept nogil
    unsigned rt_turns(const rt_layer *) noexcept nogil
    void rt_turned(const rt_layer *, unsigned) noexcept nogil

    ctypedef struct rt_call:
        int n_time, n_batch, reverse
        const void *x
        ptrdiff_t ldx_t, ldx_b
        const int *lengths
        const void *h0
        const void *c0
        ptrdiff_t ldh0, ldc0
        void *y
        ptrdiff_t ldy_t, ldy_b
        void *y_h
        void *y_c
        ptrdiff_t ldy_h, ldy_c
        void *trace
        ptrdiff_t ldtrace_t, ldtrace_b
        void *work
        int part, n_parts
        rt_barrier *barrier

    ctypedef struct rt_choice:
        int across, chunk, far

    ctypedef struct rt_kernels:
        const char *isa
        int lanes, element_size
        rt_choice (*choose)(const rt_layer *, int, int) noexcept nogil
        size_t (*work_size)(const rt_layer *, int, int, int) noexcept nogil
        void (*run)(const rt_layer *, const rt_call *) noexcept nogil
        int (*small)(const void *, ptrdiff_t) noexcept nogil
        void (*map_exp)(const void *, void *, ptrdiff_t) noexcept nogil
        void (*map_sigmoid)(const void *, void *, ptrdiff_t) noexcept nogil
        void (*map_tanh)(const void *, void *, ptrdiff_t) noexcept nogil
