"""The whole schema, by database. To import this is to know every table."""

from collections.abc import Mapping

from sqlalchemy import MetaData

from openecr.store.iam_tables import PRINCIPALS
from openecr.store.job_tables import JOBS
from openecr.store.kms_tables import KMS_KEYS
from openecr.store.tables import ACTIVITY, METADATA

assert PRINCIPALS.metadata is METADATA
assert KMS_KEYS.metadata is METADATA
assert JOBS.metadata is METADATA

SCHEMAS: Mapping[str, MetaData] = {"metadata": METADATA, "activity": ACTIVITY}
"""By the names of the trees of migrations."""
