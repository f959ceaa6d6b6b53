"""Pure deciders. None of them knows another, reads a clock, draws a random number or does I/O."""
