"""Everything goes wrong while clients push, delete and pull: nothing acknowledged is lost, nobody gets in who may not.

`OPENECR_CHAOS_SECONDS` asks for a longer run of each site (`make chaos`), `OPENECR_SEED` for the choices of a failure
again.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from openecr.cli.control import ask_server
from openecr.domain.errors import OperatorError
from openecr.web.control import Command
from openecr.web.work_commands import WorkCommand
from tests.chaos import sites
from tests.chaos.actors import Actor, allowed, settle
from tests.chaos.faults import Fault, Together
from tests.chaos.gates import Gate, KeyDoor, PolicyDoor, furnish
from tests.chaos.sites import SECONDS, Site
from tests.chaos.wires import Wires
from tests.durability.histories import History, Key, differences, observed
from tests.running import plain_environment
from tests.scenario.drivers import basic

SEED = os.environ.get("OPENECR_SEED") or str(random.SystemRandom().randrange(10**9))
ROUND_SECONDS = min(20.0, SECONDS / 4)
CALM_SECONDS = 60.0
"""So long, at most, nothing goes wrong when a round begins, until everybody has got somewhere."""

COLLECTION = ("collect-blobs", "remove-bytes")
COLLECTION_SECONDS = 60.0
ACTORS = 4
LARGEST_BYTES = 400_000
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 3.0
DOUBLE = 0.4
LOG_INDENT = 10
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
        server.client().put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
        environment = server.environment()
        self._key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        self._authorization = basic("AWS", server.password())
        self.actors = [self._actor(number) for number in range(ACTORS)]
        for actor in self.actors:
            actor.begin()
        self.gates = [self._policy_gate(), self._key_gate()]
        self.collected = dict.fromkeys(COLLECTION, 0)
        """How many rounds each kind of collection ended in."""

    def round(self, seconds: float) -> None:
        """Let faults happen while everybody works, then look at everything that was promised."""
        is_over = threading.Event()
        before = self._ended()
        workers = [*(actor.work for actor in self.actors), *(gate.work for gate in self.gates)]
        with ThreadPoolExecutor(len(workers)) as pool:
            running = [pool.submit(work, is_over.is_set) for work in workers]
            try:
                self._wait_for_everybody(running)
                self._disturb(time.monotonic() + seconds, running)
            finally:
                is_over.set()
            for each in running:
                each.result()
        after = self._ended()
        for kind in COLLECTION:
            self.collected[kind] += before[kind] != after[kind]
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

    def collect(self) -> None:
        """Collect what is left: nothing is missing then, and nothing is stored that nobody names."""
        collected = self._openecr("gc", "--run")
        assert collected.returncode == 0, collected.stderr
        audited = self._openecr("blobs", "audit")
        assert audited.returncode == 0, (audited.stdout, audited.stderr)
        assert ", 0 orphans;" in audited.stdout, audited.stdout

    def summary(self, name: str, seconds: float) -> str:
        """What happened, in a line."""
        faults = Counter(fault for line in self.log for fault in line[LOG_INDENT:].split(" while "))
        return (
            f"{name}: seed {SEED}, {seconds:.0f} s; {self.history.acknowledged} changes acknowledged, "
            f"{sum(actor.unanswered for actor in self.actors)} requests unanswered; gates let in "
            f"{sum(gate.let_in for gate in self.gates)} reads and refused {sum(gate.refused for gate in self.gates)}; "
            f"{sum(actor.revived for actor in self.actors)} blobs revived, collection ended in "
            f"{min(self.collected.values())} rounds; faults: "
            + ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items()))
        )

    def _ended(self) -> dict[str, object]:
        """When each kind of collection has ended last."""
        work = WorkCommand(command="watch", kinds=COLLECTION)
        deadline = time.monotonic() + COLLECTION_SECONDS
        while True:
            try:
                answer = ask_server(self.site.servers[0].data, Command(command="work", work=work))
            except OperatorError:  # what it needs has just come back
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return {job["kind"]: job["ended_at"] for job in answer["jobs"]}

    def _openecr(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "openecr", *arguments, "--data", str(self.site.servers[0].data)]
        return subprocess.run(
            command, env=plain_environment(), capture_output=True, text=True, timeout=300, check=False
        )

    def _wait_for_everybody(self, running: list["Future[None]"]) -> None:
        """Come back when each client has changed something and each door was read through both ways."""
        done = [actor.acknowledged for actor in self.actors]
        deadline = time.monotonic() + CALM_SECONDS
        while (
            any(actor.acknowledged == before for actor, before in zip(self.actors, done, strict=True))
            or not all(gate.has_turned for gate in self.gates)
        ) and not any(each.done() for each in running):
            assert time.monotonic() < deadline, "somebody gets nowhere, though nothing is wrong"
            time.sleep(0.01)

    def _disturb(self, until: float, running: list["Future[None]"]) -> None:
        while time.monotonic() < until and not any(each.done() for each in running):
            fault = self._fault()
            self.log.append(f"{time.monotonic() - self._began:8.2f} ".rjust(LOG_INDENT) + fault.name)
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
def told(chaos: Chaos, name: str) -> Generator[None]:
    """Say, whatever comes, how to have the same again and what happened."""
    began = time.monotonic()
    try:
        yield
    finally:
        print(f"OPENECR_SEED={SEED}")
        print("\n".join(chaos.log))
        print(chaos.summary(name, time.monotonic() - began))


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
        with told(chaos, site.__name__):
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                chaos.round(min(ROUND_SECONDS, max(ends - time.monotonic(), 1)))
            chaos.look(list(chaos.history.changes))
            for gate in chaos.gates:
                gate.prove()
            chaos.collect()
            chaos.look(list(chaos.history.changes))
        assert chaos.history.acknowledged > SECONDS, "the clients got nowhere"
        assert all(actor.acknowledged for actor in chaos.actors), "a client got nowhere"
        assert all(chaos.collected.values()), "collection does not run"
        assert sum(actor.revived for actor in chaos.actors), "no blob was ever pushed again"
        for gate in chaos.gates:
            assert gate.refused > 0
            assert gate.let_in > 0
