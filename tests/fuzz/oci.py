"""Requests for the registry face and the download door: paths, queries, heads, manifests and chunks out of shape."""

import base64
import json
from typing import Any
from urllib.parse import unquote

from tests.fuzz.arsenal import BLOBS, FUZZED, HELLO, KEPT, MEDIA_TYPES, SAMPLES, digest
from tests.fuzz.dice import Dice
from tests.fuzz.requests import Pairs, Shot

_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X")
_READS = frozenset({"GET", "HEAD"})
_TAGS = ("latest", "image", "docker", "artifact", "index", "list", "old", "v1", "v1.2.3", "_", "a" * 128)
_RANGES = (
    "bytes=0-4",
    "bytes=-5",
    "bytes=5-",
    "bytes=0-0,2-3",
    "bytes=0-99999999999999999999",
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2)),
    "bytes=5-1",
    "bytes=-0",
    "bytes=",
    "octets=0-4",
    "0-4",
    "bytes=a-b",
    "bytes=0-4,",
    "bytes= 0 - 4 ",
    "bytes=--4",
)
_CONTENT_RANGES = (
    "0-4",
    "5-9",
    "bytes 0-4/5",
    "bytes 0-4/*",
    "0-",
    "-4",
    "4-0",
    "0-99999999999999999999",
    "a-b",
    "",
)
_HOSTS = (
    "localhost:5050",
    "127.0.0.1:5050",
    "[::1]:5050",
    "000000000000.dkr.ecr.us-east-1.localhost:5050",
    "111111111111.dkr.ecr.us-east-1.localhost:5050",
    "000000000000.dkr.ecr.mars-1.localhost:5050",
    "000000000000.dkr.ecr.us-east-1.amazonaws.com",
    "LOCALHOST",
    "localhost:99999",
    "[::1",
    "localhost:",
    ".",
)


def shot(dice: Dice) -> Shot:
    """Make one request."""
    made = dice.pick((_manifest, _manifest, _blob, _upload, _upload, _list, _anything))(dice)
    if dice.chance(0.06):
        made.method = dice.pick(_METHODS)
    if dice.chance(0.06):
        made.target = _bent_target(dice, made.target)
    if made.method not in _READS and KEPT in unquote(made.target):
        made.method = "GET"
    made.headers += _head(dice)
    _frame(dice, made)
    return made


def _frame(dice: Dice, made: Shot) -> None:
    if not dice.chance(0.15):
        cut_off = dice.chance(0.03)
        made.headers.append(("content-length", str(len(made.body) + (10 if cut_off else 0))))
        made.stalls = cut_off and dice.chance(0.5)
    made.cuts = [dice.randrange(len(made.body) + 1) for _ in range(dice.pick((0, 0, 1, 4)))]


def _head(dice: Dice) -> Pairs:
    headers = [("host", dice.pick(_HOSTS) if dice.chance(0.05) else _HOSTS[0])]
    if dice.chance(0.04):
        headers[0] = ("host", dice.text(dice.pick(_HOSTS)))
    if dice.chance(0.93):
        headers.append(("authorization", "Basic {token}"))
    elif dice.chance(0.8):
        headers.append(("authorization", _authorization(dice)))
    if dice.chance(0.25):
        accepted = ",".join(dice.pick(MEDIA_TYPES) for _ in range(3)) if dice.chance(0.5) else "*/*;q=0"
        headers.append(("accept", dice.text(accepted) if dice.chance(0.5) else accepted))
    if dice.chance(0.05):
        headers.append(
            (dice.pick(("x-forwarded-for", "x-forwarded-proto", "expect", "if-none-match")), dice.nasty())
        )
    return headers


def _authorization(dice: Dice) -> str:
    plain = dice.pick(("AWS:", "AWS:{token}", ":", "", "root:x", "AWS:" + "a" * 5_000)) + dice.nasty()
    encoded = base64.b64encode(plain.encode("utf-8", "surrogatepass")).decode()
    return dice.pick(
        (
            f"Basic {encoded}",
            f"basic {encoded}",
            f"Bearer {encoded}",
            "Basic",
            "Basic ",
            dice.text(f"Basic {encoded}"),
        )
    )


def _name(dice: Dice) -> str:
    if dice.chance(0.1):
        return dice.text(dice.pick(FUZZED))
    return dice.pick((KEPT, *FUZZED))


def _digest(dice: Dice) -> str:
    if dice.chance(0.3):
        return dice.text(digest(dice.pick(BLOBS)))
    return digest(dice.pick((*BLOBS, *(sample.content for sample in SAMPLES))))


def _reference(dice: Dice) -> str:
    kind = dice.randrange(10)
    if kind < 5:
        return dice.pick(_TAGS)
    return dice.text(dice.pick(_TAGS)) if kind == 5 else _digest(dice)


def _query(dice: Dice, *pairs: tuple[str, str]) -> str:
    """Write a query: some pairs are left out, said twice, or bent."""
    written: list[str] = []
    for name, value in pairs:
        if dice.chance(0.15):
            continue
        text = dice.text(value) if dice.chance(0.3) else value
        pair = f"{dice.escaped(name)}={dice.escaped(text)}"
        written += [pair] * (2 if dice.chance(0.05) else 1)
    if dice.chance(0.05):
        written.append(dice.escaped(dice.nasty()))
    return "?" + "&".join(written) if written else ""


def _manifest(dice: Dice) -> Shot:
    method = dice.pick(("PUT", "PUT", "PUT", "GET", "HEAD", "DELETE"))
    sample = dice.pick(SAMPLES)
    content, media_type = sample.content, sample.media_type
    if method == "PUT" and dice.chance(0.6):
        document: Any = sample.document
        for _ in range(dice.pick((0, 1, 1, 3))):
            document = dice.tree(document)
        content = dice.document(document)
    reference = digest(content) if method == "PUT" and dice.chance(0.3) else _reference(dice)
    if dice.chance(0.2):
        media_type = dice.text(media_type) if dice.chance(0.5) else dice.pick(MEDIA_TYPES)
    path = f"/v2/{dice.escaped(_name(dice))}/manifests/{dice.escaped(reference)}"
    if method == "PUT" and dice.chance(0.1):
        path += _query(dice, ("tag", "v1"), ("tag", "v2"), ("digest", digest(content)))
    headers = [] if dice.chance(0.1) else [("content-type", media_type)]
    return Shot(method=method, target=path, headers=headers, body=content if method == "PUT" else b"")


def _blob(dice: Dice) -> Shot:
    method = dice.pick(("GET", "GET", "HEAD", "DELETE"))
    path = f"/v2/{dice.escaped(_name(dice))}/blobs/{dice.escaped(_digest(dice))}"
    headers: Pairs = []
    if dice.chance(0.6):
        wanted = dice.pick(_RANGES)
        headers.append(("range", dice.text(wanted) if dice.chance(0.4) else wanted))
    if dice.chance(0.1):
        headers.append(("if-range", dice.pick((f'"{_digest(dice)}"', dice.nasty()))))
    return Shot(method=method, target=path, headers=headers)


def _upload(dice: Dice) -> Shot:
    name = FUZZED[0] if dice.chance(0.7) else dice.escaped(_name(dice))
    content = dice.pick((HELLO, b"", HELLO, dice.randbytes(dice.pick((1, 100, 70_000)))))
    if dice.chance(0.4):
        query = _query(
            dice, ("mount", _digest(dice)), ("from", dice.pick((KEPT, *FUZZED))), ("digest", digest(content))
        )
        algorithm = _query(dice, ("digest-algorithm", dice.pick(("sha256", "sha512", "md5"))))
        query = dice.pick(("", query, query, algorithm))
        return Shot(method="POST", target=f"/v2/{name}/blobs/uploads/{query}", body=dice.pick((b"", content)))
    session = (
        "{upload}" if dice.chance(0.85) else dice.escaped(dice.text("0f8fad5b-d9cb-469f-a165-70867728950e"))
    )
    method = dice.pick(("PATCH", "PATCH", "PUT", "PUT", "GET", "DELETE"))
    path = f"/v2/{name}/blobs/uploads/{session}"
    headers: Pairs = []
    if dice.chance(0.5):
        where = dice.pick(_CONTENT_RANGES)
        headers.append(("content-range", dice.text(where) if dice.chance(0.3) else where))
    if method == "PUT":
        algorithm = dice.pick(("sha256", "sha256", "sha512"))
        path += _query(dice, ("digest", digest(content, algorithm) if dice.chance(0.7) else _digest(dice)))
    return Shot(
        method=method, target=path, headers=headers, body=content if method in {"PATCH", "PUT"} else b""
    )


def _list(dice: Dice) -> Shot:
    count = dice.pick(
        ("1", "0", "1000", "1001", "-1", "99999999999999999999", "a", "", "1.5", "٣", "+1", " 1")
    )
    last = dice.pick(("", "image", "zzz", "\x00", "ä"))
    page = _query(dice, ("n", count), ("last", last))
    name = dice.escaped(_name(dice))
    kind = dice.pick(("application/vnd.example", "", "a/b", "*"))
    path = dice.pick(
        (
            f"/v2/{name}/tags/list{page}",
            f"/v2/_catalog{page}",
            f"/v2/{name}/referrers/{dice.escaped(_digest(dice))}"
            + _query(dice, ("artifactType", kind), ("last", last)),
        )
    )
    return Shot(method="GET", target=path)


def _anything(dice: Dice) -> Shot:
    parts = [dice.pick(("v2", "v1", "layers", "_catalog", "", dice.nasty(), _name(dice)))]
    parts += [
        dice.pick((dice.nasty(), _name(dice), "manifests", "blobs", "uploads", "tags", "list", "referrers"))
    ]
    parts += [dice.nasty() for _ in range(dice.pick((0, 1, 3)))]
    path = "/" + "/".join(map(dice.escaped, parts))
    if dice.chance(0.3):
        path = "/layers/" + dice.escaped(dice.text(base64.urlsafe_b64encode(dice.randbytes(60)).decode()))
    if dice.chance(0.2):
        path = "/v2/"
    body = json.dumps(dice.value()).encode() if dice.chance(0.2) else b""
    return Shot(method=dice.pick(_METHODS), target=path, body=body)


def _bent_target(dice: Dice, target: str) -> str:
    """Spoil a path that is encoded already; it stays visible ASCII without spaces, or the HTTP server refuses it."""
    bent = dice.text(target)
    return "/" + "".join(
        character for character in bent if "!" <= character <= "~" and character != "#"
    ).lstrip("/")
