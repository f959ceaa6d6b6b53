"""Every operation of IAM, one row each; the rows themselves stand beside their nouns."""

from openecr.web.aws.iam.inline_policy_rows import ROWS as INLINE_POLICY_ROWS
from openecr.web.aws.iam.policy_rows import ROWS as POLICY_ROWS
from openecr.web.aws.iam.role_rows import ROWS as ROLE_ROWS
from openecr.web.aws.iam.simulation_rows import ROWS as SIMULATION_ROWS
from openecr.web.aws.iam.user_rows import ROWS as USER_ROWS
from openecr.web.aws.rows import Row

ROWS: tuple[Row, ...] = (*USER_ROWS, *INLINE_POLICY_ROWS, *POLICY_ROWS, *ROLE_ROWS, *SIMULATION_ROWS)
