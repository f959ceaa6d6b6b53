"""Metadata in SQL: one model on two dialects, one module per noun.

Functions here take a `Connection` and run inside the one transaction that an application function opened; they raise
no domain errors and know no caller.
"""
