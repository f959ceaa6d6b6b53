"""Grant tokens in requests. Grants work at once here, so a token adds nothing; what is none is refused."""

from openecr.domain.kms_errors import InvalidGrantToken
from openecr.engines.kms import parse_grant_token
from openecr.web.aws.call import Parameters


def check_grant_tokens(parameters: Parameters) -> None:
    """Check GrantTokens. Raises InvalidGrantToken."""
    for token in parameters.get("GrantTokens") or ():
        try:
            parse_grant_token(token)
        except ValueError as error:
            raise InvalidGrantToken(message="The grant token is invalid.") from error
