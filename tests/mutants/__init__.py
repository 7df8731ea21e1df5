"""Mutation testing of the control loop: which test notices when a guard is gone?

Every condition is replaced by True and by False, and every operand of an ``and`` or ``or`` is left out, one at a time.
``python -m tests.mutants --help``; what survived, and why, stands in docs/testing.md.
"""
