# Steps in memory, and what a run holds. Included by program.pyx.

cdef struct step_t:
    rt_op_run run
    const int64_t *words
    int n_parts


cdef struct layout_t:                  # an array that a segment reads or makes; type -1: any other object
    int type, n_axes
    cnp.npy_intp shape[MAX_AXES]


cdef int write_layout(layout_t *layout, object entry) except -1:
    """`entry` is (dtype, shape) or None."""
    cdef int k
    layout.type = -1
    if entry is not None and len(entry[1]) <= MAX_AXES:
        layout.type = (<cnp.dtype> entry[0]).num
        layout.n_axes = <int> len(entry[1])
        for k in range(layout.n_axes):
            layout.shape[k] = entry[1][k]
    return 0


cdef inline bint fits(const layout_t *layout, object value) noexcept:
    """Whether steps bound to that layout can read the array as it is."""
    cdef cnp.ndarray array
    cdef int k
    if type(value) is not np_ndarray:
        return False
    array = <cnp.ndarray> value
    if cnp.PyArray_TYPE(array) != layout.type or cnp.PyArray_NDIM(array) != layout.n_axes:
        return False
    if not cnp.PyArray_ISCARRAY_RO(array):
        return False
    for k in range(layout.n_axes):
        if cnp.PyArray_DIMS(array)[k] != layout.shape[k]:
            return False
    return True


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
            self.owners[k] = None
        if self.objects:
            self.objects.clear()


cdef inline int64_t nanoseconds() noexcept nogil:
    """A clock that only goes forward."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef class Segment:
    """Bound steps and what comes after them.

    Parameters
    ----------
    steps : list of rnnrt.native.emitter.Emitted
    arena_size : int
        Bytes; the arena is base `arena_base`.
    peak : int
        Bytes of it that are in use at once, at most.
    n_bases : int
        Bases in use once the segment has ended.
    terminal : rnnrt.bind.End, Call or Branch
        What comes then.
    keep : list
        What the steps' words point into.
    drops : list of int
        Bases of results that nothing after this segment needs, nor a call at its end.
    """

    cdef step_t *steps
    cdef int64_t *words
    cdef readonly int n_steps, arena_base, n_bases
    cdef readonly size_t arena_size, peak
    cdef readonly double work
    cdef bint releases
    cdef readonly list labels, names, works, traffic
    cdef readonly object terminal
    cdef readonly dict children
    cdef object keep
    cdef int kind, first_base
    cdef list outputs               # (dtype, shape) of an End's arrays, or None
    cdef layout_t *made             # the same
    cdef layout_t *read             # of a first segment: the inputs
    cdef int n_read
    cdef list frames
    cdef list drops                 # bases of results that nobody needs any more

    def __cinit__(self):
        self.steps, self.words, self.made, self.read, self.n_read = NULL, NULL, NULL, NULL, 0

    def __dealloc__(self):
        free(self.made)
        free(self.read)
        free(self.steps)
        free(self.words)

    def __init__(self, list steps, size_t arena_size, size_t peak, int arena_base, int n_bases, terminal, list keep, list drops,
                 int threads=1):
        cdef size_t n_words = 0
        cdef size_t at = 0
        cdef int64_t traffic
        cdef step_t *step
        for emitted in steps:
            n_words += 2 * len(emitted.words)
        self.steps = <step_t *> malloc(max(1, len(steps)) * sizeof(step_t))
        self.words = <int64_t *> malloc(max(<size_t> 1, n_words) * sizeof(int64_t))
        if self.steps == NULL or self.words == NULL:
            raise MemoryError("rnnrt: no memory for a plan")
        self.peak = peak
        self.n_steps, self.arena_size, self.arena_base, self.n_bases = len(steps), arena_size, arena_base, n_bases
        self.terminal, self.children, self.frames, self.work = terminal, {}, [], 0
        self.labels, self.names, self.works, self.traffic = [], [], [], []
        self.keep, self.drops = keep, drops
        for k, emitted in enumerate(steps):
            step = &self.steps[k]
            step.words = self.words + at
            step.n_parts = 1
            traffic = 0
            at += write_words(self.words + at, emitted.words, keep, &traffic)
            op, work = emitted.op, emitted.work
            if type(op) is int:
                step.run = <rt_op_run> <size_t> op
                op = "recurrent"
            else:
                self.choose(step, op, self.words + at - step.words, work, threads)
            self.work += work
            self.labels.append(emitted.label)
            self.names.append(op)
            self.works.append(work)
            self.traffic.append(traffic)
        self.releases = self.work >= GIL_WORK
        self.kind, self.first_base = terminal.kind, terminal.first_base
        self.outputs = terminal.outputs
        if self.outputs:
            self.made = <layout_t *> malloc(len(self.outputs) * sizeof(layout_t))
            if self.made == NULL:
                raise MemoryError("rnnrt: no memory for a plan")
            for k, entry in enumerate(self.outputs):
                write_layout(&self.made[k], entry)

    cdef int remember(self, tuple signature) except -1:
        """What this segment, the first one, was bound to."""
        self.n_read = <int> len(signature)
        self.read = <layout_t *> malloc(max(1, self.n_read) * sizeof(layout_t))
        if self.read == NULL:
            self.n_read = 0
            raise MemoryError("rnnrt: no memory for a plan")
        for k, entry in enumerate(signature):
            write_layout(&self.read[k], entry)
        return 0

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
        if self.n_steps:
            if self.releases:
                with nogil:
                    wrong = run_steps(self.steps, self.n_steps, values, &k)
            else:
                wrong = run_steps(self.steps, self.n_steps, values, &k)
            if wrong != RT_OK:
                raise self.error(k, wrong, values)
        return 0

    cdef object error(self, int k, int wrong, char **values):
        cdef const int64_t *words = self.steps[k].words
        cdef const int *lengths
        text = WRONG[wrong]
        if wrong == RT_BAD_LENGTH:      # of bound.pxi's words: T, B, and where the lengths are
            lengths = <const int *> (<size_t> values[words[8]] + <size_t> words[9])
            bad = [lengths[b] for b in range(words[6]) if not 0 <= lengths[b] <= words[5]]
            text = f"sequence_lens: expected lengths in 0..{words[5]}, got {bad[0]}"
        return InputError(f"{self.labels[k]}: {text}")

    cdef list time_steps(self, char **values):
        """As execute, one step at a time; nanoseconds of each."""
        cdef int k, at, wrong
        cdef int64_t before, after
        cdef list taken = []
        for k in range(self.n_steps):
            before = nanoseconds()
            with nogil:
                wrong = run_steps(self.steps + k, 1, values, &at)
            after = nanoseconds()
            if wrong != RT_OK:
                raise self.error(k, wrong, values)
            taken.append(after - before)
        return taken


cdef ptrdiff_t write_words(int64_t *target, list words, list keep, int64_t *traffic) except -1:
    """Words as a step has them in memory; returns how many, and adds the bytes of its tensors to `traffic`."""
    cdef ptrdiff_t n = 0
    cdef int64_t item_size, size, offset
    cdef word_t word
    for item in words:
        if type(item) is int:
            target[n] = item
        elif type(item) is float:
            word.number = item
            target[n] = word.bits
        else:
            item_size = (<cnp.dtype> item.dtype).itemsize
            buffer = item.buffer
            offset = item.offset * item_size
            while True:                       # Buffer.place
                offset += <int64_t> buffer.offset
                inside = buffer.inside
                if inside is None:
                    break
                buffer = inside
            target[n] = buffer.base
            if target[n] == 0:
                keep.append(buffer.keep)
            n += 1
            target[n] = offset
            size = item_size
            for axis in <tuple> item.shape:
                size *= <int64_t> axis
            traffic[0] += size
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
