# LSTMs whose weights are bytes (bytes.h): x and h as bytes, and their products. Included by call.pxi.

cdef char *lay_out_bytes(bytes_t *bytes, size_t rows, int n, char *work) noexcept nogil:
    """Place n bytes a row, with room for a vector of them past the last; returns the end."""
    bytes.ld = (<ptrdiff_t> n + 63) & ~<ptrdiff_t> 63
    bytes.rows = <uint8_t *> take(&work, rows * bytes.ld)
    bytes.sums = <int32_t *> take(&work, rows * sizeof(int32_t))
    return work


cdef inline void hold_bytes(bytes_t *bytes, ptrdiff_t i, const real *x, int n) noexcept nogil:
    """Put n numbers into row i."""
    bytes.sums[i] = bytes_row(bytes.scale, x, n, bytes.rows + i * bytes.ld)


cdef void hold_states(run_t *q) noexcept nogil:
    """h as bytes, all rows that are still running together."""
    cdef int row
    q.h_bytes.scale = bytes_scale(q.h, 0, 1, q.ldh, q.n_rows, q.layer.n_hidden)
    for row in range(q.n_rows):
        hold_bytes(&q.h_bytes, row, q.h_rows[row], q.layer.n_hidden)


cdef void project_bytes(run_t *q) noexcept nogil:
    """As project, of an LSTM whose weights are bytes."""
    cdef const rt_bytes *m = &q.layer.w_bytes
    cdef split_t cut = split_rows(<int> q.chunk_rows, BYTES_ROWS)
    cdef rt_bytes_tile t
    cdef int block, i, height
    cdef ptrdiff_t row
    for row in range(q.chunk_rows):
        hold_bytes(&q.x_bytes, row, q.x_rows[row], q.layer.n_in)
    t.m, t.lda, t.scale, t.ldinit = m, q.x_bytes.ld, q.x_bytes.scale, 0
    for block in range(q.layer.n_blocks):
        t.block = block
        t.init = <const real *> q.layer.bias + block * 4 * LANES
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.a, t.row_sums = q.x_bytes.rows + row * t.lda, q.x_bytes.sums + row
            t.out = projection(q, block, row)
            bytes_run(q.fast, height, &t)
            row += height


cdef void bytes_step(run_t *q) noexcept nogil:
    """lstm_step, where the weights are bytes."""
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut = split_rows(q.n_rows, BYTES_ROWS)
    cdef int end = q.layer.n_blocks
    cdef int at_once = panels_at_once(q)
    cdef int p = 0
    cdef int i, j, n, row, height
    cdef rt_bytes_tile t
    t.m, t.lda, t.scale, t.ldinit = &q.layer.r_bytes, q.h_bytes.ld, q.h_bytes.scale, 4 * LANES
    while p < end:
        n = min(at_once, end - p)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.a, t.row_sums = q.h_bytes.rows + row * t.lda, q.h_bytes.sums + row
            for j in range(n):
                t.block = turn(q, p + j, 0, end)
                t.init = projection(q, t.block, q.pre_row + row)
                t.out = sums + 4 * j * height * LANES
                bytes_run(q.fast, height, &t)
            lstm_cells(q, sums, p, n, row, height, 0, end)
            row += height
        p += n
