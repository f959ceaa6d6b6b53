"""The registry face: OCI distribution-spec 1.1 and its drafts, Docker Registry V2, ECR's texts.

`routes.py` lists every door, `pipeline.py` is the way through one, `errors.py` translates what goes wrong.
"""
