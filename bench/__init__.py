"""Benchmarks: the machine's limits, recurrent layers and whole models beside other engines. See README.md."""
