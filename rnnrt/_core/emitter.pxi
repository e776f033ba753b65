# What a binder writes its steps to. Included by program.pyx.

cdef object FLOAT = np.dtype(np.float32)
cdef object BYTE = np.dtype(np.uint8)


@cython.final
cdef class Emitter:
    """Collects the steps of one segment of a bound plan.

    Parameters
    ----------
    lanes
        Floats in a vector of the instruction set in use.
    made
        What is made once for all that is bound from one plan, by key: weights in the form that steps want, mainly.
    threads
        Threads that a step may use.

    Attributes
    ----------
    label
        Of the steps that are emitted next.
    stack
        The recurrent layers emitted last (native/wavefront.py).
    convolution
        The one emitted last that may do so with its outputs pooled (native/conv.py).
    """

    cdef readonly int64_t lanes, threads
    cdef readonly list steps, keep
    cdef public str label
    cdef public object stack, convolution
    cdef dict made

    def __init__(self, int64_t lanes, dict made not None, int64_t threads=1):
        self.lanes, self.made, self.threads = lanes, made, threads
        self.steps, self.keep, self.label = [], [], ""
        self.stack = self.convolution = None

    def empty(self, tuple shape not None, cnp.dtype dtype=FLOAT):
        """A contiguous tensor in memory of its own, to be written by the steps emitted next."""
        return laid_out(dtype, shape, None)

    def scratch(self, int64_t n_bytes):
        """Memory that one step works in, 64-byte aligned."""
        return Tensor(BYTE, (n_bytes,), (1,), Buffer(n_bytes))

    def constant(self, cnp.ndarray array not None):
        """A tensor of a known array."""
        return constant(array)

    def view(self, Tensor tensor not None, tuple shape not None, tuple strides not None, int64_t offset=0):
        """Another look at a tensor in memory; strides and offset in elements."""
        return Tensor(tensor.dtype, shape, strides, tensor.buffer, tensor.offset + offset)

    def packed(self, key, array, make):
        """``make(array)`` as a constant, made once for `array` and `key`."""
        whole = (key, <size_t> <PyObject *> array)
        found = self.made.get(whole)
        if found is None:
            found = self.made[whole] = (constant(make(array)), array)
        return (<tuple> found)[0]

    def once(self, str what, node, make):
        """``make(node)``, which depends on the node alone, made once for it."""
        whole = (what, <size_t> <PyObject *> node)
        found = self.made.get(whole)
        if found is None:
            found = self.made[whole] = make(node)
        return found

    def contiguous(self, Tensor tensor not None):
        """The tensor itself, or a copy in C order."""
        return tensor if tensor.contiguous() else self.copy(tensor)

    def copy(self, Tensor tensor not None):
        """A contiguous copy."""
        target = self.empty(tensor.shape, tensor.dtype)
        self.copy_into(tensor, target)
        return target

    def copy_into(self, Tensor source not None, Tensor target not None):
        """Copy elements into a tensor of the same shape and type, whatever the strides of both."""
        words = copy_words(source.shape, source.strides, target.strides, source.dtype.itemsize)
        if words is not None:
            self.emit("copy", [source, target, *words], elements(source.shape))

    def emit(self, op, list words not None, double work):
        """Append a step."""
        cdef Emitted step = Emitted(op, words, work, self.label)
        self.steps.append(step)
        return step
