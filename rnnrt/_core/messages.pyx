# cython: language_level=3
"""A serialized ONNX model as plain objects, read without protobuf, whose objects for Python cost more than what is in them.

Names are those of the messages in onnx.proto. Only what models usually hold is read here: a message with anything else
in it (a tensor of strings or with external data, a sparse one, an attribute without a type, …) is left to the class that
protobuf has for it, and a model that is not well-formed to protobuf as a whole, which then says what is wrong. So
whoever reads a graph meets these classes and protobuf's.
"""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import sys

import numpy as np

from rnnrt._core.engine import memory

cnp.import_array()

cdef enum:
    MAX_DEPTH = 64
    # AttributeProto.AttributeType
    FLOAT = 1, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS, TENSORS

cdef tuple KINDS = ("UNDEFINED", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS", "STRINGS", "TENSORS")

include "fields.pxi"
include "value_messages.pxi"


cdef class Attribute:
    """An AttributeProto: `name`, `kind` (as KINDS has it), and `value`: a number, bytes, Tensor, Graph, or list of such."""

    cdef readonly str name, kind
    cdef readonly object value


cdef class Node:
    """A NodeProto; `serialize` gives back what it was read from."""

    cdef readonly list input, output, attribute
    cdef readonly str name, op_type, domain
    cdef object source
    cdef Py_ssize_t start, size

    def serialize(self):
        """The message's bytes."""
        return bytes(self.source[self.start : self.start + self.size])


cdef class Graph:
    """A GraphProto without what nothing depends on."""

    cdef readonly str name, doc_string
    cdef readonly list node, initializer, sparse_initializer, input, output

    def __cinit__(self):
        self.name = self.doc_string = ""
        self.node, self.initializer, self.sparse_initializer, self.input, self.output = [], [], [], [], []


cdef class Opset:
    """An OperatorSetIdProto."""

    cdef readonly str domain
    cdef readonly object version


cdef class Entry:
    """A StringStringEntryProto."""

    cdef readonly str key, value


cdef class Model:
    """A ModelProto without functions."""

    cdef readonly object ir_version, model_version
    cdef readonly str producer_name, producer_version, domain, doc_string
    cdef readonly Graph graph
    cdef readonly list opset_import, metadata_props
    cdef readonly tuple functions

    def __cinit__(self):
        self.ir_version, self.model_version = None, 0
        self.producer_name = self.producer_version = self.domain = self.doc_string = ""
        self.opset_import, self.metadata_props, self.functions = [], [], ()


def read(data, dict taken):
    """The Model in `data`, bytes or an array of such; None if protobuf has to look at it.

    `taken` has the data of tensors, as uint8, by the mark that stands in its place (rnnrt.wire).
    """
    if sys.byteorder != "little":
        return None
    try:
        return Reader(data, taken).model()
    except (Strange, ValueError, OverflowError):      # of Python and NumPy: text that is no UTF-8, arrays too large
        return None


cdef class Reader:
    """Reads one model."""

    cdef object data
    cdef dict taken
    cdef const uint8_t *first
    cdef Py_ssize_t size
    cdef int depth

    def __init__(self, data, dict taken):
        cdef const uint8_t[::1] view = data
        self.data, self.taken, self.depth, self.size = data, taken, 0, len(view)
        self.first = &view[0] if self.size else NULL

    cdef Model model(self):
        cdef Model model = Model()
        cdef const uint8_t *at = self.first
        cdef const uint8_t *end = at + self.size
        cdef field_t field
        cdef uint64_t seen = 0
        while next_field(&at, end, &field):
            if field.number in (1, 2, 3, 4, 5, 6, 7):
                once(&seen, field.number)
            if field.number == 1:
                model.ir_version = number(&field)
            elif field.number == 2:
                model.producer_name = words(&field)
            elif field.number == 3:
                model.producer_version = words(&field)
            elif field.number == 4:
                model.domain = words(&field)
            elif field.number == 5:
                model.model_version = number(&field)
            elif field.number == 6:
                model.doc_string = words(&field)
            elif field.number == 7:
                want(&field, 2)
                model.graph = self.graph(&field)
            elif field.number == 8:
                model.opset_import.append(opset(&field))
            elif field.number == 14:
                model.metadata_props.append(entry(&field))
            elif field.number == 25:
                raise Strange          # functions are inlined in the message
        if model.graph is None or model.ir_version is None:
            raise Strange
        return model

    cdef Graph graph(self, const field_t *outer):
        cdef Graph graph = Graph()
        cdef const uint8_t *at = outer.body
        cdef const uint8_t *end = outer.body + outer.size
        cdef field_t field
        cdef uint64_t seen = 0
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Strange
        while next_field(&at, end, &field):
            if field.number in (1, 5, 11, 12, 15):
                want(&field, 2)
            if field.number == 1:
                graph.node.append(self.node(&field))
            elif field.number == 5:
                graph.initializer.append(self.tensor(&field))
            elif field.number == 11:
                graph.input.append(self.declared(&field))
            elif field.number == 12:
                graph.output.append(self.declared(&field))
            elif field.number == 15:
                graph.sparse_initializer.append(self.message("SparseTensorProto", &field))
            elif field.number in (2, 10):
                once(&seen, field.number)
                if field.number == 2:
                    graph.name = words(&field)
                else:
                    graph.doc_string = words(&field)
        self.depth -= 1
        return graph

    cdef Node node(self, const field_t *outer):
        cdef Node node = Node()
        cdef const uint8_t *at = outer.body
        cdef const uint8_t *end = outer.body + outer.size
        cdef field_t field
        cdef uint64_t seen = 0
        node.input, node.output, node.attribute = [], [], []
        node.name = node.op_type = node.domain = ""
        node.source, node.start, node.size = self.data, outer.body - self.first, outer.size
        while next_field(&at, end, &field):
            if field.number == 1:
                node.input.append(words(&field))
            elif field.number == 2:
                node.output.append(words(&field))
            elif field.number == 5:
                want(&field, 2)
                node.attribute.append(self.attribute(&field))
            elif field.number in (3, 4, 7):
                once(&seen, field.number)
                if field.number == 3:
                    node.name = words(&field)
                elif field.number == 4:
                    node.op_type = words(&field)
                else:
                    node.domain = words(&field)
        return node

    cdef object attribute(self, const field_t *outer):
        """The Attribute, or an AttributeProto where it is not one value and the type that says so."""
        cdef Attribute attribute = Attribute()
        cdef const uint8_t *at = outer.body
        cdef const uint8_t *end = outer.body + outer.size
        cdef field_t field
        cdef uint64_t seen = 0
        cdef uint64_t kind = 0
        cdef int held = 0                  # the kind of the value
        attribute.name = ""
        while next_field(&at, end, &field):
            if field.number in (11, 14, 15, 21, 22, 23):
                return self.message("AttributeProto", outer)
            if field.number in (1, 20):
                once(&seen, field.number)
                if field.number == 1:
                    attribute.name = words(&field)
                else:
                    number(&field)
                    kind = field.value
            elif of_field(field.number):
                if held and (held < FLOATS or held != of_field(field.number)):
                    return self.message("AttributeProto", outer)
                held = of_field(field.number)
                self.put(attribute, held, &field)
        if kind != <uint64_t> held or not held:
            return self.message("AttributeProto", outer)
        attribute.kind = KINDS[held]
        return attribute

    cdef int put(self, Attribute attribute, int kind, const field_t *field) except -1:
        """Let `field` be the attribute's value, or one more in the list that is its value."""
        if kind == FLOAT:
            want(field, 5)
            attribute.value = single(field.value)
        elif kind == INT:
            attribute.value = number(field)
        elif kind == STRING:
            attribute.value = content(field)
        elif kind in (TENSOR, GRAPH):
            want(field, 2)
            attribute.value = self.tensor(field) if kind == TENSOR else self.graph(field)
        else:
            if attribute.value is None:
                attribute.value = []
            if kind == FLOATS:
                add_floats(<list> attribute.value, field)
            elif kind == INTS:
                add_numbers(<list> attribute.value, field)
            elif kind == STRINGS:
                (<list> attribute.value).append(content(field))
            else:
                want(field, 2)
                (<list> attribute.value).append(self.tensor(field))
        return 0

    cdef object tensor(self, const field_t *field):
        cdef Tensor tensor = read_tensor(self.taken, field)
        return self.message("TensorProto", field) if tensor is None else tensor

    cdef object declared(self, const field_t *field):
        cdef Declared declared = read_declared(field)
        return self.message("ValueInfoProto", field) if declared is None else declared

    cdef object message(self, str kind, const field_t *field):
        """The message as protobuf reads it."""
        import onnx
        from google.protobuf.message import DecodeError

        try:
            return getattr(onnx, kind).FromString(content(field))
        except DecodeError:
            raise Strange from None


cdef inline int of_field(int number) noexcept:
    """The kind of an AttributeProto's value that the field of this number holds; 0 for other fields."""
    # f 2, i 3, s 4, t 5, g 6, floats 7, ints 8, strings 9, tensors 10
    return number - 1 if 2 <= number <= 10 else 0


cdef Opset opset(const field_t *outer):
    cdef Opset opset = Opset()
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef field_t field
    cdef uint64_t seen = 0
    want(outer, 2)
    opset.domain, opset.version = "", 0
    while next_field(&at, end, &field):
        once(&seen, field.number)
        if field.number == 1:
            opset.domain = words(&field)
        elif field.number == 2:
            opset.version = number(&field)
    return opset


cdef Entry entry(const field_t *outer):
    cdef Entry entry = Entry()
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef field_t field
    cdef uint64_t seen = 0
    want(outer, 2)
    entry.key = entry.value = ""
    while next_field(&at, end, &field):
        once(&seen, field.number)
        if field.number == 1:
            entry.key = words(&field)
        elif field.number == 2:
            entry.value = words(&field)
    return entry
