# The short way through a stream's step: state kept in two sets of arrays, the one read and the other written. Included by
# program.pyx.

cdef int generation = 1                # of processes: a forked child does not take over a step that its parent was in


def _forked():
    global generation
    generation += 1


os.register_at_fork(after_in_child=_forked)


@cython.final
cdef class Stepper:
    """The state of a stream, and its steps as long as the arrays fed are laid out as in the step before.

    Parameters
    ----------
    program : Program
        The model's.
    inputs, outputs : tuple of str
        All names of the model's, states among them.
    states : dict
        Input name -> output name.
    """

    cdef Program program
    cdef public Segment root           # of the last step; None: the next one goes the long way
    cdef readonly tuple inputs, outputs
    cdef tuple feed_names, answer_names
    cdef int n_feeds, n_states, n_answers
    cdef int *feed_at                  # what is fed, states going in, states coming out, and the other outputs:
    cdef int *state_from               # which of the inputs or outputs each is
    cdef int *state_to
    cdef int *answer_at
    cdef list current, spare           # the state by number, in arrays that nobody else has; empty before the first step
    cdef Segment settled               # the root that both were found to fit; their memory is then in:
    cdef char **now
    cdef char **then
    cdef int busy

    def __cinit__(self):
        self.feed_at, self.now, self.then = NULL, NULL, NULL

    def __dealloc__(self):
        free(self.feed_at)
        free(self.now)
        free(self.then)

    def __init__(self, Program program, tuple inputs, tuple outputs, dict states):
        kept = set(states.values())
        self.program, self.inputs, self.outputs = program, inputs, outputs
        self.feed_names = tuple([name for name in inputs if name not in states])
        self.answer_names = tuple([name for name in outputs if name not in kept])
        self.n_feeds, self.n_states, self.n_answers = len(self.feed_names), len(states), len(self.answer_names)
        places = [inputs.index(name) for name in (*self.feed_names, *states)]
        places += [outputs.index(name) for name in (*states.values(), *self.answer_names)]
        self.feed_at = <int *> malloc(max(1, len(places)) * sizeof(int))
        self.now = <char **> malloc(max(1, self.n_states) * sizeof(char *))
        self.then = <char **> malloc(max(1, self.n_states) * sizeof(char *))
        if self.feed_at == NULL or self.now == NULL or self.then == NULL:
            raise MemoryError("rnnrt: no memory for a stream")
        for k, place in enumerate(places):
            self.feed_at[k] = place
        self.state_from = self.feed_at + self.n_feeds
        self.state_to = self.state_from + self.n_states
        self.answer_at = self.state_to + self.n_states
        self.root, self.current, self.spare, self.settled, self.busy = None, [], [], None, 0

    def enter(self):
        """Whether nobody was in the middle of a step; now the caller is."""
        if self.busy == generation:
            return False
        self.busy = generation
        return True

    def leave(self):
        """End what `enter` began."""
        self.busy = 0

    def get(self):
        """The state's arrays by number, for reading; empty before the first step."""
        return self.current

    def set(self, list state):
        """Begin with these arrays, which are the stepper's from now on; those of an empty list: from the start."""
        self.current, self.spare = state, [np.empty_like(array) for array in state]
        self.root = self.settled = None

    def run(self, list values):
        """A step of known state and checked values, one an input: the outputs in order; the state is not touched."""
        self.root = self.program.root_of(values)
        return self.program.run_from(self.root, values, None)

    cdef dict again(self, feeds, out):
        """The step's outputs by name, or None where it has to go the long way."""
        cdef Segment root = self.root
        if root is None or self.busy == generation or len(self.current) != self.n_states:
            return None
        if type(feeds) is not dict or len(<dict> feeds) != self.n_feeds or (out is not None and type(out) is not dict):
            return None
        if not (root.is_short and self.settle(root)):
            return self.step_on(root, feeds, out)
        return self.step_short(root, feeds, out)

    cdef bint settle(self, Segment root) noexcept:
        """Whether the arrays of the state, both sets, are such as the root reads and makes."""
        cdef list states
        cdef int k
        if self.settled is root:
            return True
        for states in (self.current, self.spare):
            for k in range(self.n_states):
                if not fits(&root.read[self.state_from[k]], states[k]) or not fits(&root.made[self.state_to[k]], states[k]):
                    return False
        for k in range(self.n_states):
            self.now[k] = <char *> cnp.PyArray_DATA(<cnp.ndarray> self.current[k])
            self.then[k] = <char *> cnp.PyArray_DATA(<cnp.ndarray> self.spare[k])
        self.settled = root
        return True

    cdef dict step_short(self, Segment root, dict feeds, dict out):
        """A step of a run that is one segment: the state is read where it lies, and its successor written beside it."""
        cdef Frame frame = None
        cdef dict answer
        cdef int k
        self.busy = generation
        try:
            frame = root.take()
            for k in range(self.n_feeds):
                if not hold_input(root, frame, self.feed_at[k], feeds, self.feed_names[k]):
                    return None
            for k in range(self.n_states):
                frame.values[1 + self.state_from[k]] = self.now[k]
                frame.values[root.first_base + self.state_to[k]] = self.then[k]
            answer = self.answers(root, frame, out)
            if answer is not None:
                root.execute(frame.values)
                self.current, self.spare = self.spare, self.current
                self.now, self.then = self.then, self.now
            return answer
        finally:
            if frame is not None:
                give_short(root, frame)
            self.busy = 0

    cdef dict answers(self, Segment root, Frame frame, dict out):
        """Arrays for the outputs that are no state, by name: those of `out` or fresh ones; None if one cannot be used."""
        cdef dict answer = {}
        cdef PyObject *given = NULL
        cdef cnp.ndarray array
        cdef int n_given = 0
        cdef int k, at
        for k in range(self.n_answers):
            at = self.answer_at[k]
            if out is not None:
                given = PyDict_GetItemWithError(out, self.answer_names[k])
            if given == NULL:
                array = new_array(&root.made[at])
            elif fits(&root.made[at], <object> given) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> given):
                array = <cnp.ndarray> given
                n_given += 1
            else:
                return None
            answer[self.answer_names[k]] = array
            frame.values[root.first_base + at] = <char *> cnp.PyArray_DATA(array)
            if given != NULL and not self.lies_apart(root, frame, k):
                return None
        return answer if out is None or n_given == len(out) else None

    cdef bint lies_apart(self, Segment root, Frame frame, int k) noexcept:
        """Whether the k-th answer shares no memory with what is fed and the answers before it."""
        cdef const char *start = frame.values[root.first_base + self.answer_at[k]]
        cdef const char *end = start + root.made[self.answer_at[k]].n_bytes
        cdef const char *other
        cdef int j, at
        for j in range(self.n_feeds):
            at = self.feed_at[j]
            other = frame.values[1 + at]
            if start < other + root.read[at].n_bytes and other < end:
                return False
        for j in range(k):
            at = self.answer_at[j]
            other = frame.values[root.first_base + at]
            if start < other + root.made[at].n_bytes and other < end:
                return False
        return True

    cdef dict step_on(self, Segment root, dict feeds, dict out):
        """A step of a run of several segments, or of arrays beyond the short way; None if something given does not fit."""
        cdef list given = [None] * (self.n_feeds + self.n_states)
        cdef list results
        cdef int k
        for k in range(self.n_states):
            given[self.state_from[k]] = self.current[k]
        for k in range(self.n_feeds):
            given[self.feed_at[k]] = feeds.get(self.feed_names[k])
        for k in range(len(given)):
            if not fits(&root.read[k], given[k]):
                return None
        self.busy = generation
        try:
            results = self.program.run_from(root, given, None)
        finally:
            self.busy = 0
        made = [results[self.state_to[k]] for k in range(self.n_states)]
        for k in range(self.n_states):
            if not fits(&root.read[self.state_from[k]], made[k]):
                return None
        answer = {self.answer_names[k]: results[self.answer_at[k]] for k in range(self.n_answers)}
        if out is not None and not delivered(answer, out):
            return None
        self.current, self.settled = made, None
        return answer


cdef bint delivered(dict answer, dict out) except -1:
    """Whether all arrays of `out` can take what they are for; then they have it, and stand in `answer`."""
    for name, target in out.items():
        value = answer.get(name)
        if type(target) is not np.ndarray or type(value) is not np.ndarray or not cnp.PyArray_ISWRITEABLE(target):
            return False
        if target.dtype != value.dtype or target.shape != value.shape:
            return False
    for name, target in out.items():
        np.copyto(target, answer[name])
        answer[name] = target
    return True
