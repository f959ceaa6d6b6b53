"""Proofs that what was acknowledged survives: traces of system calls, losses of power, kills, old data folders."""
