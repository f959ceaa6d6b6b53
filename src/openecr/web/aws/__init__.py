"""The AWS face: `POST /`, JSON 1.1 and the query protocol, driven by the published service models."""
