"""IAM: what an account has."""

from openecr.web.aws.call import Call, Output, Services


async def get_account_summary(services: Services, call: Call) -> Output:
    """Return counts and quotas."""
    return {"SummaryMap": await services.iam.account_summary.get(call.grant)}
