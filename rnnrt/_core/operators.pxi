# The operators of an instruction set, by name. Included by program.pyx.

cdef union word_t:
    double number
    int64_t bits


cdef rt_ops *table_of(str isa) except NULL:
    return <rt_ops *> PyCapsule_GetPointer(import_module(f"rnnrt._core.ops_{isa}").ops, b"rnnrt.ops")


cdef rt_ops *ops_in_use = table_of(engine.in_use)
cdef rt_pool *pool = <rt_pool *> PyCapsule_GetPointer(engine.pool, b"rnnrt.pool")
LANES = ops_in_use.lanes
_by_name = {ops_in_use.ops[k].name.decode(): k for k in range(ops_in_use.n_ops)}


def operators():
    """Names of the native operators, with the number of their words; 0 where that varies."""
    return {name: ops_in_use.ops[k].n_words for name, k in _by_name.items()}


def apply(str name, list words, isa=None, int part=0, int n_parts=1):
    """Run one operator by itself.

    Parameters
    ----------
    name : str
        One of `operators()`.
    words : list
        Integers, floats, and arrays, which are two words. They must fit the operator: nothing is checked here but their
        number.
    isa : str, optional
        Instruction set; the one in use by default.
    part, n_parts : int
        Which part, of how many.

    Returns
    -------
    str
        What is wrong with the values; empty if nothing is.
    """
    cdef rt_ops *table = table_of(engine.choose(isa) if isa else engine.in_use)
    cdef const rt_op *op = &table.ops[<int> _by_name[name]]
    cdef char *values[1]
    cdef word_t word
    cdef int64_t *memory = <int64_t *> malloc((2 * len(words) + 1) * sizeof(int64_t))
    cdef int n = 0
    cdef int wrong
    cdef uint64_t state
    if memory == NULL:
        raise MemoryError("rnnrt: no memory for a step")
    try:
        for item in words:
            if isinstance(item, np.ndarray):
                memory[n] = 0
                memory[n + 1] = <int64_t> cnp.PyArray_DATA(<cnp.ndarray> item)
                n += 2
                continue
            if isinstance(item, float):
                word.number = item
                memory[n] = word.bits
            else:
                memory[n] = item
            n += 1
        if op.n_words and n != op.n_words:
            raise AssertionError(f"operator {name}: expected {op.n_words} words, got {n}")
        values[0] = NULL
        state = rt_fp_enter()
        wrong = op.run(memory, values, part, n_parts)
        rt_fp_leave(state)
        return WRONG[wrong]
    finally:
        free(memory)
