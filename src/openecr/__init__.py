"""Amazon ECR that you run yourself: the same AWS API, the same registry protocol, one server."""

__version__ = "0.1.0"
