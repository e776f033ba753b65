# Tiles: how rows and panels are cut into them, and where each finds its weights. Included by cells_<isa>.pyx after cells.pxi.

cdef extern from "panel_shapes.h" nogil:
    enum:
        MAX_GROUP, MAX_NV, MAX_ROWS, SUM_TERMS
    ctypedef struct rt_tile:
        const real **a1
        const real **a2
        const real *w1
        const real *w2
        ptrdiff_t k1, k2, terms
        const real *init[4]
        ptrdiff_t ldinit[4]
        ptrdiff_t init_bytes
        real *out
        int bounded
        const char *ahead
        const char *again
    int panel_rows(int nv)
    int panel_takes(int nv)
    void panel_run(int far, int nv, int tiles, int rows, const rt_tile *t)
    int panel_group(int nv, int rows)
    void panel_together(int far, int nv, int n, int rows, const rt_tile *tiles)
    int panel_small(const real *p, ptrdiff_t n)

cdef extern from *:
    """
    #define SCRATCH_REALS (2 * MAX_ROWS * MAX_NV * LANES)
    #define FEW_TERMS 256
    """
    enum:
        SCRATCH_REALS, FEW_TERMS


cdef inline ptrdiff_t input_terms(const rt_layer *layer) noexcept nogil:
    """How many terms a block of the sum over x has: a GRU's candidate passes on its error whole, an LSTM's gates damp theirs.

    Of many terms the blocks themselves are many, and what adding them costs in errors outgrows what shorter ones save.
    """
    return SUM_TERMS // 2 if layer.kind == RT_GRU and layer.n_in <= FEW_TERMS else SUM_TERMS


cdef inline int first_h(const run_t *q) noexcept nogil:
    """How many terms sums over h have in the first step: none where it begins with zeros, and weights are finite."""
    return 0 if q.layer.bounded and q.call.h0 == NULL else q.layer.n_hidden


cdef struct split_t:              # rows cut into tiles of nearly equal height, one or two of which go together
    int n_tiles, height, n_taller, together


cdef inline split_t split_rows(int n_rows, int most) noexcept nogil:
    cdef split_t s
    s.n_tiles, s.height, s.n_taller, s.together = 1, n_rows, 0, 1
    if n_rows > most:                  # dividing takes as long as a tile of few rows
        s.n_tiles = (n_rows + most - 1) // most
        s.height = n_rows // s.n_tiles
        s.n_taller = n_rows - s.n_tiles * s.height
    return s


cdef inline split_t split_panel(int far, int n_rows, int nv) noexcept nogil:
    """The tiles of a panel of nv vectors.

    Four to six rows of weights from far are two, too, which have time to fetch them; RT_FAR is said on AMD's processors only.
    """
    cdef split_t s = split_rows(n_rows, panel_rows(nv))
    s.together = panel_takes(nv)
    if far == RT_FAR and s.n_tiles == 1 and n_rows >= 4 and nv == MAX_NV:
        s.n_tiles, s.height, s.n_taller = 2, n_rows // 2, n_rows & 1
    return s


cdef inline int group_of(const run_t *q, int nv, int n_rows, int left) noexcept nogil:
    """How many panels of nv vectors to take together where so many are left: of four two and two, as one alone is slow."""
    cdef int most = 1 if q.alone else panel_group(nv, n_rows)
    return 2 if most == 3 and left == 4 else min(most, left)


cdef inline int panel_blocks(const rt_matrix *m, int panel) noexcept nogil:
    return min(m.per_panel, m.n_blocks - panel * m.per_panel)


cdef inline int n_panels(const rt_matrix *m) noexcept nogil:
    return (m.n_blocks + m.per_panel - 1) // m.per_panel


cdef inline const real *panel_data(const rt_matrix *m, int panel, int k) noexcept nogil:
    """The weights of a panel's k-th input."""
    return (<const real *> m.data + <ptrdiff_t> panel * m.n_k * m.per_panel * m.n_gates * LANES
            + <ptrdiff_t> k * rt_panel_vectors(m, panel) * LANES)


cdef inline int part_start(const run_t *q, int n, int next) noexcept nogil:
    """The first of n panels that belong to this thread, or with next = 1 to the one after it."""
    if q.call.n_parts == 1:
        return n * next
    return <int> (<ptrdiff_t> n * (q.call.part + next) // q.call.n_parts)


cdef inline ptrdiff_t part_unit(const run_t *q, const rt_matrix *m, int next) noexcept nogil:
    """The first unit of those that this thread computes from m, or with next = 1 of the thread after it."""
    return min(<ptrdiff_t> part_start(q, n_panels(m), next) * m.per_panel * LANES, q.ldh)


cdef inline int turn(const run_t *q, int i, int first, int end) noexcept nogil:
    """The i-th panel to take: every other step goes backwards, so that it begins with what the caches still hold.

    That goes on from call to call: a stream's steps are calls.
    """
    return first + end - 1 - i if (q.turn + <unsigned> q.step) & 1 else i


cdef inline void meet(const run_t *q) noexcept nogil:
    """Wait for the other threads of this layer."""
    if q.call.n_parts > 1:
        rt_barrier_wait(q.call.barrier, q.call.part)


cdef inline real *projection(const run_t *q, int block, ptrdiff_t row) noexcept nogil:
    """Where the projection of a row's inputs for a block of its own panel lies."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int panel, width
    if m.per_panel == 1:
        return q.pre + (block * q.chunk_rows * m.n_gates + row * rt_panel_vectors(m, block)) * LANES
    panel = block // m.per_panel
    width = panel_blocks(m, panel)
    return q.pre + (panel * m.per_panel * q.chunk_rows + row * width + block % m.per_panel) * m.n_gates * LANES


cdef inline int fetched_alone(int far) noexcept nogil:
    """What the only tile of a panel fetches, which is too few for the next panel's lines."""
    return RT_FAR if far == RT_NEXT else far


cdef inline int fetched(int far, int lines, const split_t *cut, int tile) noexcept nogil:
    """What a tile or two fetch, by where weights are: the next panel alone where the tiles are enough for all its lines, each of
    them for one a term, or where others have read this one before."""
    if (far == RT_NEXT or far == RT_MEMORY) and cut.n_tiles >= lines:
        return RT_NEXT
    if far and 0 < tile == cut.n_tiles - 1:
        return RT_NEXT
    return fetched_alone(far)


cdef inline void fetch_init(const rt_tile *t, int n_rows) noexcept nogil:
    """Ask for what the sums of some rows start from, before their terms, as they are added to it late."""
    if t.init_bytes:
        rt_fetch(t.init[0], n_rows * t.init_bytes)


cdef int sum_tile(int far, int nv, const split_t *cut, int *tile, rt_tile *t) noexcept nogil:
    """The sums of a panel for the next tile, or two that go together; returns how many rows, and leaves t aimed below them.

    A far tile brings its share of the panel that comes next into the L2 cache, or its own blocks, and then the next one's first.
    """
    cdef int lines = (nv * LANES * <int> sizeof(real) + 63) // 64     # of a term
    cdef int end = min(tile[0] + cut.together, cut.n_tiles)
    cdef int height = (end - tile[0]) * cut.height + max(0, min(end, cut.n_taller) - tile[0])
    cdef const char *ahead = t.ahead
    cdef int v
    fetch_init(t, height)
    far = fetched(far, lines, cut, tile[0])
    if far == RT_FAR and end < cut.n_tiles:
        t.ahead = t.again
    panel_run(far, nv, end - tile[0], height, t)
    t.ahead = ahead
    if far != RT_FAR and cut.n_tiles - end < lines:
        t.ahead += 64 * (end - tile[0]) * (t.k1 + t.k2)
    t.a1 += height
    t.a2 += height
    t.out += height * nv * LANES
    for v in range(nv):
        t.init[v] += height * t.ldinit[v]
    tile[0] = end
    return height


cdef void project(run_t *q) noexcept nogil:
    """pre = X W + bias for the rows of a chunk."""
    cdef const rt_matrix *m = &q.layer.w
    cdef const real *bias = <const real *> q.layer.bias
    cdef rt_tile t
    cdef split_t cut
    cdef int panel, nv, v, tile
    cdef int end = part_start(q, n_panels(m), 1)
    t.k1 = q.layer.n_in
    t.k2 = t.init_bytes = 0
    t.terms, t.bounded = input_terms(q.layer), q.bounded
    for panel in range(part_start(q, n_panels(m), 0), end):
        nv = rt_panel_vectors(m, panel)
        t.w1 = t.w2 = panel_data(m, panel, 0)
        for v in range(nv):
            t.init[v] = bias + (panel * m.per_panel * m.n_gates + v) * LANES
            t.ldinit[v] = 0
        t.ahead = <const char *> panel_data(m, min(panel + 1, end - 1), 0)
        t.again = <const char *> t.w1
        t.a1 = t.a2 = q.x_rows
        t.out = projection(q, panel * m.per_panel, 0)
        cut = split_panel(q.far_x, <int> q.chunk_rows, nv)
        tile = 0
        while tile < cut.n_tiles:
            sum_tile(q.far_x, nv, &cut, &tile, &t)
