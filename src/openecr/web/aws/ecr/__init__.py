"""The operations of ECR: parse, one use case, map. One module for each noun."""
