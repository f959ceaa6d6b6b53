"""The use cases of KMS."""
