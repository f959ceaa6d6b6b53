"""The nouns of a registry and the rules that need nothing but the nouns themselves.

Nothing here does I/O, reads a clock or knows a protocol: every module imports the standard library only.
"""
