"""Everything goes wrong while clients push, delete and pull: nothing acknowledged is lost, nobody gets in who may not.

`OPENECR_CHAOS_SECONDS` asks for a longer run of each site (`make chaos`), `OPENECR_SEED` for the choices of a failure
again.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from tests.chaos import sites
from tests.chaos.actors import Actor, allowed, settle
from tests.chaos.faults import Fault, Together
from tests.chaos.gates import Gate, KeyDoor, PolicyDoor, furnish
from tests.chaos.sites import Site
from tests.chaos.wires import Wires
from tests.durability.histories import History, Key, differences, observed
from tests.scenario.drivers import basic

SECONDS = float(os.environ.get("OPENECR_CHAOS_SECONDS", "20"))
SEED = os.environ.get("OPENECR_SEED") or str(random.SystemRandom().randrange(10**9))
ROUND_SECONDS = 20.0
ACTORS = 4
LARGEST_BYTES = 400_000
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 3.0
DOUBLE = 0.4
OLD_KEYS = 400
"""So many that were looked at before are looked at again in each round; all of them at the end."""

SITES = (sites.embedded, sites.cluster_with_files, sites.cluster_with_s3)

LOGIN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}],
}


class Chaos:
    """One site, and what its servers have promised until now."""

    def __init__(self, site: Site) -> None:
        """Open an account's doors for actors and guests."""
        self.site = site
        self.history = History()
        self.log: list[str] = []
        self._chance = random.Random(SEED)
        self._seen: dict[Key, int] = {}
        self._began = time.monotonic()
        server = site.servers[0]
        environment = server.environment()
        self._key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        self._authorization = basic("AWS", server.password())
        self.actors = [self._actor(number) for number in range(ACTORS)]
        for actor in self.actors:
            actor.begin()
        self.gates = [self._policy_gate(), self._key_gate()]

    def round(self, seconds: float) -> None:
        """Let faults happen while everybody works, then look at everything that was promised."""
        is_over = threading.Event()
        workers = [*(actor.work for actor in self.actors), *(gate.work for gate in self.gates)]
        with ThreadPoolExecutor(len(workers)) as pool:
            running = [pool.submit(work, is_over.is_set) for work in workers]
            try:
                self._disturb(time.monotonic() + seconds, running)
            finally:
                is_over.set()
            for each in running:
                each.result()
        self.site.calm()
        self.look([*self._fresh(), *self._some_old()])
        for gate in self.gates:
            gate.settle()
            gate.close()

    def look(self, keys: list[Key]) -> None:
        """Compare what the servers hold with what they may hold. Nothing is uncertain afterwards."""
        wires = self._wires(f"look {len(self.log)}")
        found = observed(keys, wires.get)
        wires.close()
        assert differences(allowed(self.history, keys), found) == []
        uncertain = set[Key]().union(*(actor.uncertain for actor in self.actors))
        settle(self.history, {key: found[key] for key in uncertain if key in found})
        for actor in self.actors:
            actor.uncertain.clear()
        self._seen |= {key: len(self.history.changes[key]) for key in keys}

    def _disturb(self, until: float, running: list["Future[None]"]) -> None:
        while time.monotonic() < until and not any(each.done() for each in running):
            fault = self._fault()
            self.log.append(f"{time.monotonic() - self._began:8.2f} {fault.name}")
            fault.inject()
            try:
                self._wait()
            finally:
                fault.heal()
            self._wait()

    def _fault(self) -> Fault:
        """One, or now and then two that are about different things."""
        first, second = self._chance.sample(self.site.faults, 2)
        is_double = first.target != second.target and self._chance.random() < DOUBLE
        return Together([first, second] if is_double else [first])

    def _wait(self) -> None:
        """Any moment will do."""
        time.sleep(self._chance.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))

    def _fresh(self) -> list[Key]:
        """What changed since it was looked at, or is uncertain."""
        uncertain = set[Key]().union(*(actor.uncertain for actor in self.actors))
        changed = self.history.changes.items()
        return [key for key, changes in changed if len(changes) != self._seen.get(key) or key in uncertain]

    def _some_old(self) -> list[Key]:
        old = sorted(key for key in self._seen if len(self.history.changes[key]) == self._seen[key])
        return self._chance.sample(old, min(OLD_KEYS, len(old)))

    # --- who works ---

    def _wires(self, name: str) -> Wires:
        return Wires(self.site.servers, self._authorization, self._key, seed=f"{SEED}:{name}")

    def _actor(self, number: int) -> Actor:
        return Actor(
            self._wires(f"actor {number}"),
            self.history,
            f"actor{number}",
            seed=SEED,
            largest_bytes=LARGEST_BYTES,
            grace_seconds=sites.GRACE_SECONDS,
            encrypted=number % 2 == 1,
        )

    def _policy_gate(self) -> Gate:
        server = self.site.servers[0]
        iam = server.client("iam")
        guest_arn = iam.create_user(UserName="guest")["User"]["Arn"]
        iam.put_user_policy(UserName="guest", PolicyName="login", PolicyDocument=json.dumps(LOGIN))
        key = iam.create_access_key(UserName="guest")["AccessKey"]
        ecr = server.client(
            aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
        )
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        server.create_repository("guarded")
        owner = self._wires("owner")
        paths = furnish(owner, "guarded")
        guest = Wires(self.site.servers, f"Basic {token}", self._key, seed=f"{SEED}:guest")
        return Gate(PolicyDoor(owner, "guarded", guest_arn), guest, paths, seed=SEED)

    def _key_gate(self) -> Gate:
        server = self.site.servers[0]
        key_id = server.client("kms").create_key()["KeyMetadata"]["KeyId"]
        server.create_repository(
            "locked", encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key_id}
        )
        owner = self._wires("key owner")
        paths = furnish(owner, "locked")
        return Gate(KeyDoor(owner, key_id), self._wires("key reader"), paths, seed=SEED)


@contextmanager
def told(chaos: Chaos) -> Generator[None]:
    """Say, whatever comes, how to have the same again and what happened."""
    try:
        yield
    finally:
        print(f"OPENECR_SEED={SEED}")
        print("\n".join(chaos.log))
        print(
            f"{chaos.history.acknowledged} changes were acknowledged, "
            f"{sum(actor.unanswered for actor in chaos.actors)} requests were not answered; "
            + ", ".join(f"a gate let in {gate.let_in} and refused {gate.refused}" for gate in chaos.gates)
        )


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "site", [sites.embedded, sites.cluster_with_files, sites.cluster_with_s3], ids=lambda site: site.__name__
)
def test_nothing_acknowledged_is_lost_and_nobody_gets_in_who_may_not(
    site: Callable[[Path], AbstractContextManager[Site]], tmp_path: Path
) -> None:
    with site(tmp_path) as found:
        chaos = Chaos(found)
        with told(chaos):
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                chaos.round(min(ROUND_SECONDS, max(ends - time.monotonic(), 1)))
            chaos.look(list(chaos.history.changes))
            for gate in chaos.gates:
                gate.prove()
        assert chaos.history.acknowledged > SECONDS, "the clients got nowhere"
        for gate in chaos.gates:
            assert gate.refused > 0
            assert gate.let_in > 0
