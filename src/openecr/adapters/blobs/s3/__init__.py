"""A blob store on S3 or anything that speaks its protocol."""

from openecr.adapters.blobs.s3.options import Bounds, Patience, S3Options
from openecr.adapters.blobs.s3.store import S3BlobStore

__all__ = ["Bounds", "Patience", "S3BlobStore", "S3Options"]
