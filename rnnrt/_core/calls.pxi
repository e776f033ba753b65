# What a user calls again and again, compiled: no Python code runs in a call that repeats. Included by program.pyx.

cdef class RepeatedRun:
    """What an `InferenceSession` derives from; calls that are no repetition go to its ``_run_in_full``."""

    cdef Program program
    cdef tuple input_names
    cdef dict numbers              # output name -> number

    def _repeat(self, Program program, tuple input_names not None, tuple output_names not None):
        """Have runs of `program` repeated; of None: none."""
        self.program, self.input_names = program, input_names
        self.numbers = {name: k for k, name in enumerate(output_names)}

    def run(self, output_names, input_feed, run_options=None):
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
        if self.program is not None and run_options is None and type(input_feed) is dict:
            try:
                results = self.again(output_names, input_feed)
            except Exception:
                results = None     # the full way meets it again, and says it as the session does
            if results is not None:
                return results
        return self._run_in_full(output_names, input_feed, run_options)

    cdef list again(self, object output_names, dict feed):
        """The outputs wanted, if this run is as the last one was; or None."""
        cdef list results, wanted
        cdef PyObject *number
        if output_names is not None and type(output_names) is not list:
            return None
        results = self.program.repeated(self.input_names, feed)
        if results is None or not output_names:
            return results
        wanted = []
        for name in <list> output_names:
            number = PyDict_GetItemWithError(self.numbers, name)
            if number == NULL:
                return None
            wanted.append(results[<int> <object> number])
        return wanted


cdef class RepeatedStep:
    """What a `Stream` derives from; steps that are no repetition go to its ``_step``."""

    cdef readonly Stepper _stepper

    def _repeat(self, Stepper stepper):
        """Have the steps of `stepper` repeated."""
        self._stepper = stepper

    def step(self, feeds, out=None):
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
