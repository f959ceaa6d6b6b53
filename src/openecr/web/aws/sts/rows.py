"""Every operation of STS, one row each."""

from openecr.web.aws.rows import Row, requires_nothing
from openecr.web.aws.sts import callers

ROWS: tuple[Row, ...] = (
    Row(
        service="sts",
        name="GetCallerIdentity",
        requires=requires_nothing,
        handler=callers.get_caller_identity,
    ),
)
