"""Everything of IAM in one place."""

from openecr.application.iam.users import Users
from openecr.application.limits import Limits
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing
from openecr.store.database import Database


class Iam:
    """The use cases of IAM, by noun."""

    def __init__(self, *, database: Database, keys: KeyRing, clock: Clock, ids: Ids, limits: Limits) -> None:
        self.users = Users(database=database, clock=clock, ids=ids, limits=limits)
        del keys
