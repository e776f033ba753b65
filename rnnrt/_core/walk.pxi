# What binding does at every step of a plan, whatever the step is. Included by program.pyx.

cdef enum:
    OPERANDS_KNOWN = 1                 # all are the same in every run
    OPERANDS_PLAIN = 2                 # all are arrays of numbers, or absent
    OPERANDS_PENDING = 4               # some are not computed yet


cdef enum:                             # places in a step, a tuple with more behind them
    STEP_LABEL, STEP_TIER, STEP_FUNCTION, STEP_INPUTS, STEP_OUTPUTS, STEP_FREES, STEP_NODE, STEP_BINDER

STEP_FIELDS = ("label", "tier", "fn", "inputs", "outputs", "frees", "node", "bind")
"""The first fields of :class:`rnnrt.plan.Step`, which the walk reads by their places."""


def advance(list values not None, list uses not None, tuple steps not None, Py_ssize_t at, Emitter emitter not None,
            Folder folder not None, repeated):
    """Take steps, from number `at` on, that are folded or become native steps, and keep their results in `values`.

    Parameters
    ----------
    values, uses
        Of a plan, by slot: what is known of each value, and how many nodes and outputs take it.
    folder
        What computes steps of known operands.
    repeated
        ``repeated(emitter, function, operands)``: the results of a Loop or Scan that becomes a step, or None.

    Returns
    -------
    at, operands
        The first step that is something else, and its operands; after the last step, their number and None.
    """
    cdef Py_ssize_t n = len(steps)
    cdef list given
    cdef tuple step
    cdef int what
    while at < n:
        step = <tuple> steps[at]
        given = []
        what = operands(values, <tuple> step[STEP_INPUTS], given)
        emitter.label = <str> step[STEP_LABEL]
        results = taken(step, given, what, emitter, folder, repeated)
        if results is None:
            return at, given
        store(values, uses, <tuple> step[STEP_OUTPUTS], results, <tuple> step[STEP_FREES])
        at += 1
    return at, None


cdef object taken(tuple step, list given, int what, Emitter emitter, Folder folder, repeated):
    """The step's results if it can be folded or made of native steps, else None."""
    if <str> step[STEP_TIER] == "control":
        return repeated(emitter, step[STEP_FUNCTION], given)
    if what & OPERANDS_KNOWN:
        results = folder.fold(step, given)
        if results is not None:
            return results
    binder = step[STEP_BINDER]
    if binder is None or not what & OPERANDS_PLAIN:
        return None
    if what & OPERANDS_PENDING and not binder.lazy:
        for x in given:
            if x is not None and (<Tensor> x).pending is not None:
                (<Tensor> x).force(emitter)
    results = binder.bind(emitter, step[STEP_NODE], *given)
    return results if results is None or type(results) is tuple else (results,)


cdef int operands(list values, tuple slots, list given) except -1:
    """Put the values in `slots` into `given`; what they are: OPERANDS_…, as far as that holds."""
    cdef int what = OPERANDS_KNOWN | OPERANDS_PLAIN
    cdef Tensor tensor
    for slot in slots:
        value = values[slot]
        given.append(value)
        if value is None:
            continue
        if type(value) is not Tensor:
            what &= ~(OPERANDS_KNOWN | OPERANDS_PLAIN)
            continue
        tensor = value
        if tensor.value is None:       # and so of numbers
            what &= ~OPERANDS_KNOWN
            if tensor.pending is not None:
                what |= OPERANDS_PENDING
        elif tensor.dtype.kind == c"O":
            what &= ~OPERANDS_PLAIN
    return what


cdef inline int count(value, uses) except -1:
    """Count the uses of what is known of a value."""
    if type(value) is Tensor:
        (<Tensor> value).uses += <int> uses
    elif value is not None:
        value.uses += uses
    return 0


def enter(list values not None, list uses not None, given):
    """Put what is known of a plan's inputs, from the first on, into their slots, counting their uses."""
    cdef Py_ssize_t slot = 0
    for value in given:
        slot += 1
        values[slot] = value
        count(value, uses[slot])


cpdef int store(list values, list uses, tuple outputs, results, tuple frees) except -1:
    """Put a step's results into their slots, counting their uses, and let go of what nobody needs after it."""
    cdef Py_ssize_t k
    for k in range(min(len(outputs), len(results))):
        slot, value = outputs[k], results[k]
        if slot:
            values[slot] = value
            count(value, uses[slot])
    for slot in frees:
        values[slot] = None
    return 0
