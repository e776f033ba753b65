# cython: language_level=3
"""What is known of the values of a graph: looked up, and brought up to date node by node.

Every rewrite asks this of every node, so it is compiled. What can be concluded of an operator is in tables that the
rewriting hands in (rnnrt.rewrite.known); sweeps over the nodes of a graph that all rewrites share are in sweeps.pxi.
"""

cimport numpy as cnp
from libc.math cimport INFINITY
from libc.string cimport memcmp

import numpy as np

cnp.import_array()

cdef type Array = np.ndarray

cdef enum:
    MAX_RANK = 32                      # axes of the arrays that are looked at place by place

cdef Py_ssize_t SMALL = 64             # elements: the longest constant that is looked at as a shape vector


cdef class Log:
    """Counts what is learned, in all scopes of a model, and says when a fact last became another by a value's name."""

    cdef long time
    cdef dict changed

    def __cinit__(self):
        self.time, self.changed = 0, {}


cdef class Rules:
    """What operators tell, by (domain, op) or op: shapes, contents, and element types.

    A type is the number of the input that has it, a dtype, or a function of the node that tells; those of `alike` have it
    for all outputs. A tuple holds a dtype for each.
    """

    cdef dict shapes, contents, types
    cdef object alike

    def __init__(self, dict shapes, dict contents, dict types, alike):
        self.shapes, self.contents, self.types, self.alike = shapes, contents, types, alike


cdef class Learned:
    """When a node was learned, the node, and what it was then."""

    cdef long time
    cdef object node, op, attrs
    cdef list inputs, outputs


cdef class Facts:
    """What is known of one graph and, through `outer`, of the graphs round it."""

    cdef readonly object graph
    cdef readonly Facts outer
    cdef readonly dict inner, producers, _shapes, _dtypes, _contents
    cdef readonly set _own
    cdef dict constants, learned
    cdef Rules rules
    cdef Log log

    def __init__(self, graph, Facts outer, Rules rules not None):
        self.graph, self.outer, self.rules = graph, outer, rules
        self.inner, self.producers, self._shapes, self._dtypes, self._contents = {}, {}, {}, {}, {}
        self.constants, self.learned = graph.constants, {}
        self.log = Log() if outer is None else outer.log
        self._own = {value.name for value in graph.inputs}

    # --------------------------------------------------------------------------------------------------------- learning

    @property
    def time(self):
        """When something was last learned."""
        return self.log.time

    def learn_all(self):
        """Learn the graph as it stands."""
        for node in self.graph.nodes:
            if may_hold_graphs(node):
                for _, sub in node.subgraphs():
                    self.scope(sub).learn_all()
            self.learn(node)

    cpdef learn(self, node):
        """Conclude what the inputs of `node` tell about its outputs; its subgraphs must be in `inner` already.

        Nothing is done if node and inputs are what they were the last time. Attributes that decide about shapes may
        not change in place without another change of the node.
        """
        cdef long time
        cdef dict before = None
        if self.is_learned(node):
            return
        self.log.time += 1
        time = self.log.time
        cdef list outputs = node.outputs
        if not (may_hold_graphs(node) and node.subgraphs()):
            self.remember(node, outputs, time)
        for out in outputs:
            if out:
                if out in self.producers:
                    if before is None:
                        before = {}
                    before[out] = self.forget(out)
                self.producers[out] = node
                self._own.add(out)
        self.conclude(node, outputs)
        if before is not None:
            for out, facts in before.items():
                if facts != self.facts(out):
                    self.log.changed[out] = time

    cdef int remember(self, node, list outputs, long time) except -1:
        cdef Learned learned = Learned.__new__(Learned)
        learned.time, learned.node, learned.op, learned.attrs = time, node, node.op, node.attrs
        learned.inputs, learned.outputs = list(node.inputs), list(outputs)
        self.learned[<size_t> <void *> node] = learned
        return 0

    cpdef bint is_learned(self, node, double by=INFINITY) except -1:
        """Whether `node` was learned, at time `by` at the latest, and nothing has changed since."""
        found = self.learned.get(<size_t> <void *> node)
        cdef Learned learned
        cdef dict changed = self.log.changed
        if found is None:
            return False
        learned = <Learned> found
        if learned.time > by or learned.attrs is not node.attrs or learned.op != node.op:
            return False
        if learned.inputs != node.inputs or learned.outputs != node.outputs:
            return False
        if changed:
            for name in learned.inputs:
                when = changed.get(name)
                if when is not None and <long> when >= learned.time:
                    return False
        return True

    def give(self, dict values):
        """Make values constants that nodes made."""
        self.log.time += 1
        self.log.changed.update(dict.fromkeys(values, self.log.time))
        self.constants.update(values)

    cdef tuple facts(self, str name):
        contents = self._contents.get(name)
        held = None if contents is None else (contents.shape, contents.reshape(-1).tolist())
        return self._shapes.get(name), self._dtypes.get(name), held

    cdef tuple forget(self, str name):
        """What was known of `name`."""
        cdef tuple facts = self.facts(name)
        self._shapes.pop(name, None)
        self._dtypes.pop(name, None)
        self._contents.pop(name, None)
        return facts

    cdef int conclude(self, node, list outputs) except -1:
        cdef Rules rules = self.rules
        cdef Py_ssize_t k
        op, domain = node.op, node.domain
        if outputs and (not domain or domain == "rnnrt"):
            self.conclude_type(node, op, outputs)
        rule = rules.shapes.get((domain, op))
        if rule is not None:
            shapes = rule(node, self)
            for k in range(min(len(outputs), len(shapes) if shapes is not None else 0)):
                out, shape = outputs[k], shapes[k]
                if out and shape is not None:
                    if None in shape:
                        shape = [f"{out}[{axis}]" if d is None else d for axis, d in enumerate(shape)]
                    self._shapes[out] = tuple(shape)
        look = None if domain else rules.contents.get(op)
        if look is not None:
            found = look(node, self)
            if found is not None and outputs and found.size <= SMALL:
                self._contents[outputs[0]] = found
        return 0

    cdef int conclude_type(self, node, op, list outputs) except -1:
        how = self.rules.types.get(op)
        cdef list inputs
        if callable(how):
            how = how(node)
        if how is None:
            return 0
        if type(how) is tuple:
            for out, dtype in zip(outputs, how):
                if out:
                    self._dtypes[out] = dtype
            return 0
        if type(how) is int:
            inputs = node.inputs
            dtype = self.dtype(inputs[<Py_ssize_t> how]) if <Py_ssize_t> how < len(inputs) else None
        else:
            dtype = how
        if dtype is not None:
            for out in outputs if op in self.rules.alike else outputs[:1]:
                if out:
                    self._dtypes[out] = dtype
        return 0

    # ---------------------------------------------------------------------------------------------------------- look-up

    def constant(self, str name not None):
        """The constant called `name`, here or in a graph round this one."""
        cdef Facts scope = self if name else None
        while scope is not None:
            array = scope.constants.get(name)
            if array is not None or name in scope._own:
                return array
            scope = scope.outer
        return None

    cdef Facts home(self, str name):
        """The innermost graph that defines `name`."""
        cdef Facts scope = self
        while scope is not None and name not in scope._own and name not in scope.constants:
            scope = scope.outer
        return scope

    def producer(self, str name not None):
        """The node that makes `name`, with the scope in which it stands."""
        cdef Facts home = self.home(name) if name else None
        node = None if home is None else home.producers.get(name)
        return None if node is None else (node, home)

    def shape(self, str name not None):
        """The shape of `name`, None where even the rank is unknown."""
        cdef Facts scope = self
        while scope is not None:
            array = scope.constants.get(name)
            if array is not None:
                return array.shape
            if name in scope._own:
                return scope._shapes.get(name)
            scope = scope.outer
        return None

    cpdef dtype(self, str name):
        """The element type of `name`, None if unknown."""
        cdef Facts scope = self
        while scope is not None:
            array = scope.constants.get(name)
            if array is not None:
                return array.dtype
            if name in scope._own:
                return scope._dtypes.get(name)
            scope = scope.outer
        return None

    cpdef contents(self, str name):
        """A small integer or bool value as an object array of ints, bools and size tokens; None if not known."""
        cdef Facts home = self.home(name) if name else None
        cdef cnp.ndarray array
        if home is None:
            return None
        found = home.constants.get(name)
        if found is None:
            return home._contents.get(name)
        array = found
        small = cnp.PyArray_SIZE(array) <= SMALL and (cnp.PyArray_ISINTEGER(array) or cnp.PyArray_ISBOOL(array))
        return array.astype(object) if small else None

    def settled(self, str name not None):
        """The value of `name` as an array where `contents` holds no token."""
        found = self.contents(name)
        dtype = self.dtype(name) if found is not None else None
        if found is None or dtype is None:
            return None
        for value in found.reshape(-1).tolist():
            if type(value) is str:
                return None
        return found.astype(dtype)

    def ints(self, node, Py_ssize_t k, str attribute):
        """Integers that `node` takes as input `k` or, in older versions, as an attribute; None if not constant."""
        cdef list inputs
        cdef cnp.ndarray array
        value = (<dict> node.attrs).get(attribute)
        if value is None:
            inputs = node.inputs
            value = self.constant(inputs[k]) if k < len(inputs) else None
            if value is None:
                return None
        if isinstance(value, Array):
            array = value
            if array.ndim > 1 or not cnp.PyArray_ISINTEGER(array):
                return None
            return array.tolist() if array.ndim else [array.item()]
        return [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]


include "sweeps.pxi"
