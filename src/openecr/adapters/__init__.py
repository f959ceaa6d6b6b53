"""Implementations of the ports, and what else touches the machine: the data folder, certificates, logs."""
