"""CloudTrail: an account's own events."""
