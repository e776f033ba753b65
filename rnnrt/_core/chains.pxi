# Element-wise programs: expressions put off until somebody needs them, and the words of the steps that compute them
# (element_blocks.h). Included by program.pyx.
#
# An expression is a tuple of tokens in postfix order: 0 stands for the next of its operands, anything else is an
# operation, a tuple as native/chain.py has it. One that only one element-wise node uses becomes part of that node's own.
# Values are never overwritten, so it does not matter when it is computed.

cdef enum:
    EW_OPERANDS = 8                    # of a step; expressions of so few need no more registers than there are
    EW_AXES = 8
    EW_BYTES = 4096                    # of a register
    MOST_TOKENS = 64
    MOST_PROGRAMS = 4096               # that are kept

cdef enum:                             # how an operand is read
    EW_DIRECT, EW_SCALAR, EW_EXPANDED

cdef enum:                             # places in the tuple of an operation
    OP_CODE, OP_ARITY, OP_ALPHA, OP_BETA, OP_COST

OPERANDS = EW_OPERANDS
TYPES = {
    np.dtype(t): k for k, t in enumerate((np.float32, np.bool_, np.int32, np.int64, np.float64, np.uint8, np.int8))
}
"""The types of elements as element_blocks.h numbers them."""

cdef dict TYPE_NUMBERS = TYPES


@cython.final
cdef class Chain:
    """What is to be computed in float32: operands in memory, and tokens over them in postfix order."""

    cdef list operands
    cdef tuple tokens
    cdef str label

    def force(self, Emitter emitter not None, Tensor tensor not None):
        """Emit the step that computes `tensor`."""
        cdef str label = emitter.label
        emitter.label = self.label
        emit_elements(emitter, "elementwise", tensor, self.operands, self.tokens)
        emitter.label = label


def broadcast_shape(list tensors not None):
    """The shape that `tensors` broadcast to; None if they do not, or one is absent, or a step does not walk so many axes."""
    cdef tuple shape = ()
    cdef tuple other
    cdef list sizes
    cdef Py_ssize_t k, extra
    cdef Tensor x
    for x in tensors:
        if x is None:
            return None
        other = x.shape
        if other == shape:
            continue
        if len(other) > len(shape):
            shape, other = other, shape
        extra = len(shape) - len(other)
        sizes = list(shape)
        for k in range(len(other)):
            size = other[k]
            if sizes[extra + k] == 1:
                sizes[extra + k] = size
            elif size != 1 and size != sizes[extra + k]:
                return None
        shape = tuple(sizes)
    return shape if len(shape) <= EW_AXES else None


def chain(Emitter emitter not None, cnp.dtype dtype, list args not None, tuple tokens not None, tuple shape=None):
    """The tensor, not computed yet, that `tokens` make of `args`, each of which occurs once and in order.

    None if the arguments do not broadcast. Arguments that are chains of this shape and have no other use become part of
    it as long as there are operands left.
    """
    cdef Py_ssize_t free = EW_OPERANDS - len(args)
    cdef Py_ssize_t length = len(tokens)
    cdef Py_ssize_t k
    cdef list operands = []
    cdef list parts = None
    cdef Tensor x, result
    cdef Chain below, made
    if shape is None:
        shape = broadcast_shape(args)
        if shape is None:
            return None
    for k in range(len(args)):
        x = args[k]
        if x is None:
            return None
        if x.pending is not None:
            if x.uses == 1 and type(x.pending) is Chain and x.shape == shape:
                below = x.pending
                if len(below.operands) <= free + 1 and len(below.tokens) + length <= MOST_TOKENS:
                    free -= len(below.operands) - 1
                    length += len(below.tokens)
                    if parts is None:
                        parts = [None] * len(args)
                    parts[k] = below.tokens
                    operands += below.operands
                    continue
            x.force(emitter)
        operands.append(x)
    made = Chain.__new__(Chain)
    made.operands, made.label = operands, emitter.label
    made.tokens = tokens if parts is None else inserted(tokens, parts)
    result = Tensor(dtype, shape, c_strides(shape), None)
    result.pending = made
    return result


cdef tuple inserted(tuple tokens, list parts):
    """The tokens with those of `parts`, by operand, in their places."""
    cdef list whole = []
    cdef Py_ssize_t k = 0
    for token in tokens:
        if type(token) is int:
            if parts[k] is not None:
                whole += <tuple> parts[k]
                k += 1
                continue
            k += 1
        whole.append(token)
    return tuple(whole)


def now(Emitter emitter not None, str name, cnp.dtype dtype, list args not None, tuple tokens not None):
    """The tensor that `tokens` make of `args`, computed by a step of its own; None if they do not broadcast."""
    shape = broadcast_shape(args)
    if shape is None:
        return None
    for x in args:
        (<Tensor> x).force(emitter)
    result = Tensor(dtype, shape, c_strides(shape), None)
    emit_elements(emitter, name, result, args, tokens)
    return result


cdef struct operand_t:                 # strides in elements: from row to row, from element to element, of the outer axes
    int kind, type
    int64_t row, step
    int64_t rest[EW_AXES]


cdef struct walk_t:                    # outer axes, elements of an inner run, and of its rows
    int n_outer
    int64_t outer[EW_AXES]
    int64_t n, run
    operand_t operands[EW_OPERANDS]


cdef int emit_elements(Emitter emitter, str name, Tensor y, list operands, tuple tokens) except -1:
    """Put `y` into memory, and emit the step that computes it with the operator `name`."""
    cdef walk_t walk
    cdef int native = 0 if name == "elementwise" else 3
    cdef int64_t capacity = EW_BYTES // (8 if native else 4)
    cdef int64_t size, block, n_blocks, count, advance, item
    cdef int k, axis
    cdef list words
    cdef Tensor x
    cdef operand_t *own
    whole = elements(y.shape)
    y.buffer, size = Buffer(whole * y.dtype.itemsize), whole
    if not size:
        return 0
    read_operands(&walk, y, size, operands, native, capacity)
    kinds = tuple([walk.operands[k].kind for k in range(<int> len(operands))])
    ops, n_ops, n_registers, cost = program_of(tokens, kinds)
    if walk.n != walk.run:
        block = capacity // walk.run * walk.run
    elif n_ops == 1 and EW_EXPANDED not in kinds and TYPE_NUMBERS[y.dtype] == native:
        block = 32 * capacity
    else:
        block = capacity
    n_blocks = (walk.n + block - 1) // block
    count = n_blocks
    for axis in range(walk.n_outer):
        count *= walk.outer[axis]
    words = [y, TYPE_NUMBERS[y.dtype], walk.n_outer, len(operands), n_ops, n_registers, walk.n, block, walk.run, n_blocks, count]
    for axis in range(walk.n_outer):
        words.append(walk.outer[axis])
    for k in range(<int> len(operands)):
        x, own = operands[k], &walk.operands[k]
        item = x.dtype.itemsize
        advance = block // walk.run * own.row if walk.n != walk.run else block * own.step
        words += (x, own.kind, own.type, own.row * item, own.step * item, advance * item)
        for axis in range(walk.n_outer):
            words.append(own.rest[axis] * item)
    words += <list> ops
    emitter.emit(name, words, <double> size * <double> cost)
    return 0


cdef int read_operands(walk_t *walk, Tensor y, int64_t size, list operands, int native, int64_t capacity) except -1:
    """How the elements are walked: in one run if all operands lie like the result or are one element."""
    cdef int k
    cdef Tensor x
    cdef operand_t *own
    walk.n_outer, walk.n, walk.run = 0, size, size
    for k in range(<int> len(operands)):
        x, own = operands[k], &walk.operands[k]
        own.type, own.row, own.step = TYPE_NUMBERS[x.dtype], 0, 1
        own.kind = EW_DIRECT if own.type == native else EW_EXPANDED
        if x.shape == y.shape and (x.strides == y.strides or x.contiguous()):
            continue
        if elements(x.shape) != 1:
            return by_axes(walk, y.shape, operands, native, capacity)
        own.step = 0
        if own.type == native and size != 1:
            own.kind = EW_SCALAR
    return 0


cdef int by_axes(walk_t *walk, tuple shape, list operands, int native, int64_t capacity) except -1:
    """Outer axes, elements of an inner run and of its rows, and how each operand lies in them.

    Short rows are taken together, as many as a register holds; long ones one by one.
    """
    cdef int64_t sizes[EW_AXES]        # innermost first; an axis that continues the one inside it joins it
    cdef int64_t steps[EW_AXES][EW_OPERANDS]
    cdef int64_t here[EW_OPERANDS]
    cdef int64_t size
    cdef int axis, k, at
    cdef int n = 0
    cdef int inner = 1
    cdef int count = <int> len(operands)
    cdef Tensor x
    cdef operand_t *own
    sizes[0] = 1
    for axis in range(<int> len(shape) - 1, -1, -1):
        size = shape[axis]
        if size == 1:
            continue
        for k in range(count):
            x = operands[k]
            at = axis - <int> (len(shape) - len(x.shape))
            here[k] = 0 if at < 0 or (x.shape[at] == 1) else <int64_t> x.strides[at]
        if n:
            for k in range(count):
                if here[k] != steps[n - 1][k] * sizes[n - 1]:
                    break
            else:
                sizes[n - 1] *= size
                continue
        sizes[n] = size
        for k in range(count):
            steps[n][k] = here[k]
        n += 1
    walk.n = walk.run = sizes[0]
    if n > 1 and 2 * walk.run <= capacity:
        walk.n, inner = sizes[1] * walk.run, 2
    walk.n_outer = n - inner
    for axis in range(walk.n_outer):
        walk.outer[axis] = sizes[n - 1 - axis]
    for k in range(count):
        own = &walk.operands[k]
        own.type, own.step = TYPE_NUMBERS[(<Tensor> operands[k]).dtype], steps[0][k]
        own.row = steps[1][k] if inner == 2 else 0
        own.kind = EW_EXPANDED
        if own.type == native:
            if own.step == 1 and (walk.n == walk.run or own.row == walk.run):
                own.kind = EW_DIRECT
            elif own.step == 0 and own.row == 0:
                own.kind = EW_SCALAR
        for axis in range(walk.n_outer):
            own.rest[axis] = steps[n - 1 - axis][k]
    return 0


cdef dict programs = {}


cdef tuple program_of(tuple tokens, tuple kinds):
    """The words of the operations, how many they and their registers are, and their cost an element."""
    key = (tokens, kinds)
    found = programs.get(key)
    if found is None:
        if len(programs) >= MOST_PROGRAMS:
            programs.clear()
        found = programs[key] = assembled(tokens, kinds)
    return found


cdef union pair_t:
    float numbers[2]
    int64_t word


cdef tuple assembled(tuple tokens, tuple kinds):
    cdef list words = []
    cdef list stack = []               # (slot, whether it is one element) of what is computed and not used yet
    cdef list registers = list(range(2 * EW_OPERANDS, EW_OPERANDS, -1))
    cdef Py_ssize_t fewest = len(registers)
    cdef Py_ssize_t leaf = 0
    cdef Py_ssize_t k, place, arity
    cdef int64_t word, target
    cdef pair_t pair
    cost = 0
    if len(tokens) == 1:
        tokens = (0, (0, 1, 0.0, 0.0, 1))      # a copy
    for k in range(len(tokens)):
        if type(tokens[k]) is int:
            stack.append((1 + leaf, kinds[leaf] == EW_SCALAR))
            leaf += 1
            continue
        op = <tuple> tokens[k]
        arity = op[OP_ARITY]
        used = stack[len(stack) - arity:]
        del stack[len(stack) - arity:]
        for slot, _ in used:
            if slot > EW_OPERANDS:
                registers.append(slot)
        target = 0 if k == len(tokens) - 1 else registers.pop()
        fewest = min(fewest, len(registers))
        word = <int64_t> op[OP_CODE] | target << 8
        for place in range(3):
            slot, scalar = used[place if place < arity else 0]
            word |= <int64_t> slot << 8 * (2 + place) | <int64_t> scalar << 40 + place
        pair.numbers[0], pair.numbers[1] = op[OP_ALPHA], op[OP_BETA]
        words.append(word)
        words.append(pair.word)
        stack.append((target, False))
        cost += op[OP_COST]
    return words, len(words) // 2, EW_OPERANDS - fewest, cost
