# Steps in memory. Included by program.pyx after frame.pxi.

cdef struct step_t:
    rt_op_run run
    const int64_t *words
    int n_parts                    # threads may each run one
    int threads                    # that it may use of its own accord


cdef enum:
    MOST_IDLE = 4                  # frames kept by a segment
    STEP_BYTES = 400               # of objects that tell about a step


cdef inline int64_t nanoseconds() noexcept nogil:
    """A clock that only goes forward."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


@cython.final
cdef class Segment:
    """Bound steps and what comes after them.

    Parameters
    ----------
    steps : list of Emitted
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
    cdef readonly size_t n_bytes    # that it keeps, its arena included: roughly
    cdef readonly double work
    cdef bint releases
    cdef Tuner tuner                # None where no step may use threads
    cdef readonly list labels, names, works, traffic
    cdef readonly object terminal
    cdef readonly dict children
    cdef readonly dict bodies       # by step: the segment that it repeats, and how often
    cdef object keep
    cdef int kind, first_base
    cdef list outputs               # (dtype, shape) of an End's arrays, or None
    cdef layout_t *made             # the same
    cdef layout_t *read             # of a first segment: the inputs
    cdef int n_read, n_made
    cdef bint is_short              # arrays in, steps, arrays out: a whole run for short.pxi
    cdef Frame idle                 # of a first segment: frames that wait for a run
    cdef int n_idle
    cdef list drops                 # bases of results that nobody needs any more

    def __cinit__(self):
        self.steps, self.words, self.made, self.read = NULL, NULL, NULL, NULL
        self.n_read = self.n_made = self.n_idle = 0

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
        cdef Emitted emitted
        for emitted in steps:
            n_words += 2 * len(emitted.words)
        self.steps = <step_t *> malloc(max(1, len(steps)) * sizeof(step_t))
        self.words = <int64_t *> malloc(max(<size_t> 1, n_words) * sizeof(int64_t))
        if self.steps == NULL or self.words == NULL:
            raise MemoryError("rnnrt: no memory for a plan")
        self.peak = peak
        self.n_steps, self.arena_size, self.arena_base, self.n_bases = len(steps), arena_size, arena_base, n_bases
        self.terminal, self.children, self.work = terminal, {}, 0
        self.labels, self.names, self.works, self.traffic, self.bodies = [], [], [], [], {}
        self.keep, self.drops = keep, drops
        for k, emitted in enumerate(steps):
            step = &self.steps[k]
            step.words = self.words + at
            step.n_parts, step.threads = 1, emitted.threads
            traffic = 0
            at += write_words(self.words + at, emitted.words, keep, &traffic)
            op, work = emitted.op, emitted.work
            if type(op) is int:
                step.run = <rt_op_run> <size_t> op
                op = emitted.name
                if emitted.body is not None:
                    self.bodies[k] = emitted.body
            else:
                self.choose(step, op, self.words + at - step.words, work, threads)
            if (step.n_parts > 1 or step.threads > 1) and self.tuner is None:
                self.tuner = Tuner()
            self.work += work
            self.labels.append(emitted.label)
            self.names.append(op)
            self.works.append(work)
            self.traffic.append(traffic)
        self.n_bytes = arena_size + n_words * sizeof(int64_t) + len(steps) * STEP_BYTES
        self.releases = self.work >= GIL_WORK
        self.kind, self.first_base = terminal.kind, terminal.first_base
        self.outputs = terminal.outputs
        if self.outputs:
            self.n_made = <int> len(self.outputs)
            self.made = <layout_t *> malloc(self.n_made * sizeof(layout_t))
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
        self.is_short = self.kind == END and all_arrays(self.read, self.n_read) and all_arrays(self.made, self.n_made)
        return 0

    cdef Frame take(self):
        """A frame for a run that begins with this segment, its arena in place."""
        cdef Frame frame = self.idle
        if frame is None:
            frame = Frame()
            frame.place(self)
            frame.forget()
        else:
            self.idle, frame.next = frame.next, None
            self.n_idle -= 1
        return frame

    cdef void give(self, Frame frame) noexcept:
        """Let a run's frame, and all that it holds, go."""
        frame.forget()
        self.keep_idle(frame)

    cdef inline void keep_idle(self, Frame frame) noexcept:
        if self.n_idle < MOST_IDLE:
            self.idle, frame.next = frame, self.idle
            self.n_idle += 1

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
        cdef bint shared = self.tuner is not None and self.tuner.shared()
        cdef int64_t began = nanoseconds() if self.tuner is not None else 0
        if self.n_steps:
            if self.releases:
                with nogil:
                    wrong = run_steps(self.steps, self.n_steps, values, shared, &k)
            else:
                wrong = run_steps(self.steps, self.n_steps, values, shared, &k)
            if wrong != RT_OK:
                raise self.error(k, wrong, values)
        if self.tuner is not None:
            self.tuner.took(shared, nanoseconds() - began)
        return 0

    cdef object error(self, int k, int wrong, char **values):
        cdef const int64_t *words = self.steps[k].words
        cdef const int *lengths
        text = WRONG[wrong]
        if wrong == RT_BAD_LENGTH and self.names[k] == "recurrent":      # of bound.pxi's words: T, B, and where the lengths are
            lengths = <const int *> (<size_t> values[words[8]] + <size_t> words[9])
            bad = [lengths[b] for b in range(words[6]) if not 0 <= lengths[b] <= words[5]]
            text = f"sequence_lens: expected lengths in 0..{words[5]}, got {bad[0]}"
        return InputError(f"{self.labels[k]}: {text}")

    def note(self, int k):
        """How the k-th step goes, for people; empty where there is nothing to say."""
        if not 0 <= k < self.n_steps or self.names[k] != "recurrent":
            return ""
        return engine.choice_of(<size_t> self.steps[k].run, <size_t> self.steps[k].words)

    cdef list time_steps(self, char **values):
        """As execute, one step at a time; nanoseconds of each."""
        cdef int k, at, wrong
        cdef int64_t before, after
        cdef list taken = []
        for k in range(self.n_steps):
            before = nanoseconds()
            with nogil:
                wrong = run_steps(self.steps + k, 1, values, True, &at)
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
    cdef Tensor tensor
    cdef Buffer buffer
    for item in words:
        if type(item) is int:
            target[n] = item
        elif type(item) is float:
            word.number = item
            target[n] = word.bits
        else:
            tensor = item
            item_size = tensor.dtype.itemsize
            buffer = tensor.buffer
            offset = tensor.offset * item_size + buffer.offset
            while buffer.inside is not None:
                buffer = buffer.inside
                offset += buffer.offset
            target[n] = buffer.base
            if buffer.base == 0:
                keep.append(buffer.keep)
            n += 1
            target[n] = offset
            size = item_size
            for axis in tensor.shape:
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


cdef int run_steps(const step_t *steps, int n, char **values, bint shared, int *at) noexcept nogil:
    """Run steps, with threads where `shared`, until one finds something wrong; which one is put to `at`."""
    cdef uint64_t state = rt_fp_enter()
    cdef int k
    cdef int wrong = RT_OK
    for k in range(n):
        if shared and steps[k].n_parts > 1:
            wrong = run_parts(&steps[k], values)
        else:
            wrong = steps[k].run(steps[k].words, values, 0, steps[k].threads if shared else 1)
        if wrong != RT_OK:
            at[0] = k
            break
    rt_fp_leave(state)
    return wrong
