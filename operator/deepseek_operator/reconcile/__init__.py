"""The decision: an observed world and a spec in, actions, status and the next look out.

Everything here is pure: no I/O, no globals, and the clock is an argument. Read :mod:`.decide` first; it is the table of
contents of what happens to a deployment.
"""
