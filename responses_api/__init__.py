"""The pure core: the Responses protocol as data and functions, without any I/O.

Nothing in this package awaits, reads a clock, draws randomness, looks at the environment or logs. Typed engine inputs
go in, typed events come out, and the same inputs give the same bytes for ever.
"""
