"""STS: temporary credentials, for a role, for the caller, or for whomever the caller stands for.

Whether a role may be taken at all was decided before, by the trust policy among others. Source of the rules: STS API
reference, and IAM user guide, "Temporary security credentials".
"""

import base64
from dataclasses import dataclass, field, replace

from openecr.application.iam.entities import require_role
from openecr.application.session_parameters import CheckedParameters, SessionParameters, check
from openecr.application.sessions import Sessions
from openecr.domain.callers import Caller, FederatedUser, RoleSession, Root, Session, User, WebIdentity
from openecr.domain.decisions import Grant
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import ACCESS_KEY_RANDOM_BYTES, SESSION_KEY_PREFIX, IamRole, access_key_id
from openecr.domain.iam_errors import ConcurrentModification, IamValidationError, NoSuchEntity
from openecr.domain.sts_errors import IdentityClaimRejected, InvalidSessionParameter
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store.database import Database

DEFAULT_ROLE_SECONDS = 60 * 60
DEFAULT_USER_SECONDS = 12 * 60 * 60
CHAINED_MAX_SECONDS = 60 * 60
ROOT_MAX_SECONDS = 60 * 60

_SECRET_BYTES = 30  # forty characters of base64, as AWS makes them
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSession:
    """Temporary credentials, for the one who asked, and the caller that they make."""

    caller: Caller
    session: Session
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    packed_percent: int | None = None


class Sts:
    """Makes sessions."""

    def __init__(self, *, database: Database, sessions: Sessions, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._sessions = sessions
        self._clock = clock
        self._ids = ids

    async def assume_role(
        self,
        grant: Grant,
        *,
        session_name: str,
        duration_seconds: int | None,
        source_identity: str | None,
        asked: SessionParameters,
    ) -> IssuedSession:
        """Take the role that the grant is about.

        Raises AccessDenied, IamValidationError, and what checking the parameters raises.
        """
        caller = grant.caller
        role = await self._role(grant)
        seconds = duration_seconds or DEFAULT_ROLE_SECONDS
        if seconds > role.max_session_seconds:
            raise IamValidationError(
                message="The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        if caller.session is not None and seconds > CHAINED_MAX_SECONDS:
            raise IamValidationError(
                message="The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role "
                "chaining."
            )
        checked = check(asked, account_id=role.account_id, calling=caller.session)
        session = self._session(
            session_name, seconds, checked, made_by=caller.access_key_id, source_identity=source_identity
        )
        if isinstance(caller, WebIdentity):
            session = replace(session, federated_provider=caller.arn)
        return self._issue(
            RoleSession(
                account_id=role.account_id,
                access_key_id=self._key_id(role.account_id),
                unique_id=role.unique_id,
                role_name=role.name,
                session=session,
            ),
            checked,
        )

    async def assume_role_with_web_identity(
        self, grant: Grant, *, session_name: str, duration_seconds: int | None, asked: SessionParameters
    ) -> IssuedSession:
        """Take a role on the word of an identity provider, which also says the session's tags.

        Raises what assume_role does; IdentityClaimRejected where the tags are none that a session may have.
        """
        caller = grant.caller
        assert isinstance(caller, WebIdentity), "the door knows no other caller"
        asked = replace(asked, tags=caller.tags, transitive_tag_keys=caller.transitive_tag_keys)
        try:
            return await self.assume_role(
                grant,
                session_name=session_name,
                duration_seconds=duration_seconds,
                source_identity=caller.source_identity,
                asked=asked,
            )
        except InvalidSessionParameter as error:
            raise IdentityClaimRejected(message=error.message) from error

    def get_session_token(self, caller: Caller, *, duration_seconds: int | None) -> IssuedSession:
        """Return temporary credentials of the caller, who has a key that lasts."""
        checked = CheckedParameters(
            policy=None, policy_arns=(), tags=(), transitive_tag_keys=(), packed_percent=None
        )
        seconds = _seconds(caller, duration_seconds)
        session = self._session(_name_of(caller), seconds, checked, made_by=caller.access_key_id)
        match caller:
            case Root() | User():
                key_id = self._key_id(caller.account_id)
                return self._issue(replace(caller, access_key_id=key_id, session=session), checked)
            case _:
                raise AccessDenied(message="Cannot call GetSessionToken with session credentials")

    def get_federation_token(
        self, grant: Grant, *, name: str, duration_seconds: int | None, asked: SessionParameters
    ) -> IssuedSession:
        """Return credentials for somebody whom the caller stands for: what both of them may, he may."""
        caller = grant.caller
        if not isinstance(caller, Root | User):
            raise AccessDenied(message="Cannot call GetFederationToken with session credentials")
        checked = check(asked, account_id=caller.account_id, calling=None)
        seconds = _seconds(caller, duration_seconds)
        return self._issue(
            FederatedUser(
                account_id=caller.account_id,
                access_key_id=self._key_id(caller.account_id),
                unique_id=f"{caller.account_id}:{name}",
                user_id=caller.unique_id,
                session=self._session(name, seconds, checked, made_by=caller.access_key_id),
            ),
            checked,
        )

    async def _role(self, grant: Grant) -> IamRole:
        try:
            return await self._database.read(lambda connection: require_role(connection, grant))
        except (NoSuchEntity, ConcurrentModification) as error:  # it is not the one that was decided on
            raise AccessDenied(
                message=f"User: {grant.caller.arn} is not authorized to perform: {grant.requirement.actions[0]} "
                f"on resource: {grant.requirement.resource}"
            ) from error

    def _session(
        self,
        name: str,
        seconds: int,
        checked: CheckedParameters,
        *,
        made_by: str,
        source_identity: str | None = None,
    ) -> Session:
        """Instants are whole seconds: `aws:TokenIssueTime` and what the client is told know no others."""
        issued_at = self._clock.now() // _SECOND * _SECOND
        return Session(
            issued_at=issued_at,
            expires_at=issued_at + seconds * _SECOND,
            name=name,
            source_identity=source_identity,
            tags=checked.tags,
            transitive_tag_keys=checked.transitive_tag_keys,
            policy=checked.policy,
            policy_arns=checked.policy_arns,
            made_by=made_by,
        )

    def _issue(self, caller: Caller, checked: CheckedParameters) -> IssuedSession:
        assert caller.session is not None, "it is what is issued"
        secret = base64.b64encode(self._ids.token(_SECRET_BYTES)).decode()
        return IssuedSession(
            caller=caller,
            session=caller.session,
            secret=secret,
            session_token=self._sessions.issue(caller, secret),
            packed_percent=checked.packed_percent,
        )

    def _key_id(self, account_id: str) -> str:
        return access_key_id(SESSION_KEY_PREFIX, account_id, self._ids.token(ACCESS_KEY_RANDOM_BYTES))


def _seconds(caller: Caller, wanted: int | None) -> int:
    """Of a root no session lasts longer than an hour, whatever it asks for."""
    if isinstance(caller, Root):
        return min(wanted or ROOT_MAX_SECONDS, ROOT_MAX_SECONDS)
    return wanted or DEFAULT_USER_SECONDS


def _name_of(caller: Caller) -> str:
    return caller.name if isinstance(caller, User) else "root"
