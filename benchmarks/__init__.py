"""Benchmarks: OpenECR beside a peer, in one run, on loopback, with the same content. Prints ratios."""
