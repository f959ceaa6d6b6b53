"""Every operation of the AWS face, one row each, by service.

The pipeline reads the row, so no handler can forget the check. `tests/golden/aws_doors.txt` lists the same.
"""

from collections.abc import Mapping

from openecr.web.aws.cloudtrail.rows import ROWS as CLOUDTRAIL_ROWS
from openecr.web.aws.ecr.rows import ROWS as ECR_ROWS
from openecr.web.aws.iam.rows import ROWS as IAM_ROWS
from openecr.web.aws.kms.rows import ROWS as KMS_ROWS
from openecr.web.aws.rows import Row
from openecr.web.aws.sts.rows import ROWS as STS_ROWS

ROWS: tuple[Row, ...] = (*ECR_ROWS, *IAM_ROWS, *STS_ROWS, *CLOUDTRAIL_ROWS, *KMS_ROWS)

ROWS_BY_NAME: Mapping[tuple[str, str], Row] = {(row.service, row.name): row for row in ROWS}
"""The rows by service and operation."""
