"""The operations of the policy simulator, one row each."""

from openecr.web.aws.iam import simulations
from openecr.web.aws.iam.requirements import on_everything, on_named_arn
from openecr.web.aws.iam.user_rows import iam_row
from openecr.web.aws.rows import Row

ROWS: tuple[Row, ...] = (
    iam_row(
        "SimulatePrincipalPolicy",
        simulations.simulate_principal_policy,
        on_named_arn("iam:SimulatePrincipalPolicy", "PolicySourceArn"),
        "PolicySourceArn",
    ),
    iam_row(
        "SimulateCustomPolicy",
        simulations.simulate_custom_policy,
        on_everything("iam:SimulateCustomPolicy"),
    ),
)
