"""Scenarios: what users do, written once, run in process and over the wire."""
