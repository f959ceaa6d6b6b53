"""Protocols of what the application needs from outside, each with more than one implementation."""
