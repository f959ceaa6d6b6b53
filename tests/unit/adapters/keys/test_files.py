"""Master keys on disk."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openecr.adapters.keys import add_master_key, open_key_ring
from openecr.domain.errors import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_private_key_that_later_starts_use(tmp_path: Path) -> None:
    sealed = open_key_ring(tmp_path / "keys", may_create=True).seal("purpose", b"x")
    assert open_key_ring(tmp_path / "keys", may_create=False).unseal("purpose", sealed) == b"x"
    (key,) = (tmp_path / "keys").iterdir()
    assert key.name == "master-000001.key"
    assert (mode(key), mode(key.parent)) == (0o600, 0o700)


def test_two_servers_have_different_keys(tmp_path: Path) -> None:
    sealed = open_key_ring(tmp_path / "one", may_create=True).seal("purpose", b"x")
    with pytest.raises(ValueError, match="not sealed"):
        open_key_ring(tmp_path / "two", may_create=True).unseal("purpose", sealed)


def test_a_new_master_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    old = open_key_ring(tmp_path / "keys", may_create=True)
    sealed = old.seal("purpose", b"old")
    assert add_master_key(tmp_path / "keys") == (2, tmp_path / "keys" / "master-000002.key")
    rotated = open_key_ring(tmp_path / "keys", may_create=False)
    assert rotated.unseal("purpose", sealed) == b"old"
    with pytest.raises(ValueError, match="not sealed"):
        old.unseal("purpose", rotated.seal("purpose", b"new"))


def test_beside_a_database_a_missing_key_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="the master key is missing"):
        open_key_ring(tmp_path / "keys", may_create=False)
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_key_ring(tmp_path / "keys", may_create=True)
    key = tmp_path / "keys" / "master-000001.key"
    key.chmod(0o644)
    with pytest.raises(CannotStart, match="chmod 600"):
        open_key_ring(tmp_path / "keys", may_create=False)


@pytest.mark.parametrize("content", [b"", b"00" * 31 + b"\n", b"00" * 32, b"zz" * 32 + b"\n", b"\xff" * 65])
def test_a_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    open_key_ring(tmp_path / "keys", may_create=True)
    (tmp_path / "keys" / "master-000001.key").write_bytes(content)
    with pytest.raises(CannotStart, match="is no master key"):
        open_key_ring(tmp_path / "keys", may_create=False)


def test_two_files_of_one_number_are_refused_whichever_is_the_right_one(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    open_key_ring(folder, may_create=True)
    other = folder / "master-1.key"
    other.write_bytes(b"00" * 32 + b"\n")
    other.chmod(0o600)

    told = r"master-000001\.key and master-1\.key in .* are both master key 1"
    with pytest.raises(CannotStart, match=told):
        open_key_ring(folder, may_create=False)
    with pytest.raises(CannotStart, match=told):
        add_master_key(folder)


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    open_key_ring(tmp_path / "keys", may_create=True)
    (tmp_path / "keys" / "README").write_text("keep")
    open_key_ring(tmp_path / "keys", may_create=False)
    assert (tmp_path / "keys" / "README").read_text() == "keep"


def test_servers_that_start_together_on_one_folder_use_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: open_key_ring(tmp_path / "keys", may_create=True), range(8)))
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["master-000001.key"]
    sealed = rings[0].seal("purpose", b"x")
    assert all(ring.unseal("purpose", sealed) == b"x" for ring in rings)
