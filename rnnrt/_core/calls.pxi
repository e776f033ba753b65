# What a user calls again and again, compiled: no Python code runs in a call that repeats. Included by program.pyx.

@cython.auto_pickle(False)
cdef class RepeatedRun:
    """What an `InferenceSession` derives from; calls that are no repetition go to its ``_run_in_full``."""

    cdef Program program
    cdef tuple input_names, output_names
    cdef dict numbers              # output name -> number

    def _repeat(self, Program program, tuple input_names not None, tuple output_names not None):
        """Have runs of `program` repeated; of None: none."""
        self.program, self.input_names, self.output_names = program, input_names, output_names
        self.numbers = {name: k for k, name in enumerate(output_names)}

    @cython.annotation_typing(False)
    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any],
            run_options: RunOptions | None = None) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names
            The outputs wanted, in this order; None or an empty list for all in the model's order.
        input_feed
            Name to array; also lists, scalars and `OrtValue`, and arrays of any memory layout.

        Returns
        -------
        list
            Fresh arrays, one an output.

        Raises
        ------
        InputError
            For a name, dtype, rank or shape that does not fit.
        """
        cdef list results
        if self.program is not None and run_options is None and self.knows(output_names):
            try:
                results = self.program.repeated(self.input_names, input_feed)
            except Exception as error:
                self._refuse(input_feed, error)
            else:
                if results is not None:
                    return self.chosen(results, output_names) if output_names else results
        return self._run_in_full(output_names, input_feed, run_options)

    cdef bint knows(self, object names) except -1:
        """Whether these are outputs: a list of them, or None for all."""
        cdef Py_ssize_t k
        if names is None:
            return True
        if type(names) is not list:
            return False
        for k in range(len(<list> names)):
            name = (<list> names)[k]
            if k < len(self.output_names) and name is self.output_names[k]:
                continue
            if type(name) is not str or name not in self.numbers:
                return False
        return True

    cdef list chosen(self, list results, list names):
        """Of all results those of the names, which may be all in order."""
        cdef Py_ssize_t k
        if len(names) == len(results):
            for k in range(len(results)):
                if names[k] is not self.output_names[k]:
                    break
            else:
                return results
        return [results[<int> self.numbers[name]] for name in names]


@cython.auto_pickle(False)
cdef class RepeatedStep:
    """What a `Stream` derives from; steps that are no repetition go to its ``_step``."""

    cdef readonly Stepper _stepper

    def _repeat(self, Stepper stepper):
        """Have the steps of `stepper` repeated."""
        self._stepper = stepper

    @cython.annotation_typing(False)
    def step(self, feeds: Mapping[str, Any], out: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """Take one step.

        Parameters
        ----------
        feeds
            One array an input that is no state, by name.
        out
            Arrays to write outputs into, by name; of the right shape and dtype.

        Returns
        -------
        dict
            The outputs that are no state, by name: fresh arrays, or those of `out`.

        Raises
        ------
        InputError
            If something does not fit. The state is as before the step then.
        """
        if self._stepper is not None:
            answer = self._stepper.again(feeds, out)
            if answer is not None:
                return answer
        return self._step(feeds, out)
