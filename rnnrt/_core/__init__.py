"""The compiled core: `engine` and one module of kernels an instruction set."""
