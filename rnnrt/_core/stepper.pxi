# The short way through a stream's step: state kept in two sets of arrays, the one read and the other written. Included by
# program.pyx.

cdef int generation = 1                # of processes: a forked child does not take over a step that its parent was in


def _forked():
    global generation
    generation += 1


os.register_at_fork(after_in_child=_forked)


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
    cdef list reads, makes             # for each input and output: the number of the state, or -1
    cdef list places                   # for each state: which input it is
    cdef int n_states, n_feeds
    cdef list current, spare           # the state by number; empty before the first step
    cdef int busy

    def __init__(self, Program program, tuple inputs, tuple outputs, dict states):
        numbers = {name: k for k, name in enumerate(states)}
        made = {name: k for k, name in enumerate(states.values())}
        self.program, self.inputs, self.outputs = program, inputs, outputs
        self.reads = [numbers.get(name, -1) for name in inputs]
        self.makes = [made.get(name, -1) for name in outputs]
        self.places = [inputs.index(name) for name in states]
        self.n_states, self.n_feeds = len(states), len(inputs) - len(states)
        self.root, self.current, self.spare, self.busy = None, [], [], 0

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
        """The state's arrays by number; empty before the first step."""
        return self.current

    def set(self, list state):
        """Begin with these arrays, which are the stepper's from now on; those of an empty list: from the start."""
        self.current, self.spare, self.root = state, [np.empty_like(array) for array in state], None

    def run(self, list values):
        """A step of known state and checked values, one an input: the outputs in order; the state is not touched."""
        self.root = self.program.root_of(values)
        return self.program.run_from(self.root, values, None, None)

    def step(self, feeds, out):
        """The step's outputs by name, or None where it has to go the long way."""
        cdef Segment root = self.root
        cdef list given, targets, results
        cdef int k, number
        cdef dict answer = {}
        if root is None or self.busy == generation or type(feeds) is not dict or (out is not None and root.kind != END):
            return None
        if len(<dict> feeds) != self.n_feeds or (out is not None and type(out) is not dict):
            return None
        given, targets = [], []
        for k in range(len(self.inputs)):
            number = self.reads[k]
            value = (<dict> feeds).get(self.inputs[k]) if number < 0 else self.current[number]
            if not fits(&root.read[k], value):
                return None
            given.append(value)
        for k in range(len(self.outputs)):
            number = self.makes[k]
            value = None
            if number >= 0:
                value = self.spare[number]
                if root.kind == END and not fits(&root.made[k], value):
                    return None
            elif out is not None:
                value = (<dict> out).get(self.outputs[k])
                if value is not None:
                    if not fits(&root.made[k], value):
                        return None
                    answer[self.outputs[k]] = value
            targets.append(value)
        if out is not None and len(<dict> out) != len(answer):
            return None
        for k in range(len(self.outputs)):
            if self.makes[k] < 0 and targets[k] is not None and not apart(targets[k], given, targets, k):
                return None
        self.busy = generation
        try:
            results = self.program.run_from(root, given, targets, None)
        finally:
            self.busy = 0
        for k in range(len(self.outputs)):
            number = self.makes[k]
            if number < 0:
                answer[self.outputs[k]] = results[k]
            elif results[k] is not self.spare[number]:
                if not fits(&root.read[self.places[number]], results[k]):
                    return None
                self.spare[number] = results[k]
        self.current, self.spare = self.spare, self.current
        return answer
