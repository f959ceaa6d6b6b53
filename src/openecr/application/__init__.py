"""Use cases, one module per noun. Each opens the one transaction of its use case and demands a Grant."""
