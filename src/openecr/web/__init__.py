"""The faces of the server: our own request and result types, the drivers, and the AWS and OCI protocols."""
