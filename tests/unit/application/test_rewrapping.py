"""No sealed column is forgotten when master keys change."""

from sqlalchemy import LargeBinary

from openecr.application.rewrapping import KINDS
from openecr.ports.keys import master_key_number
from openecr.store.schema import SCHEMAS
from openecr.store.sealed_rows import COLUMNS, UNDER_REPOSITORY_KEYS


def test_every_sealed_column_is_rewrapped_or_hangs_on_the_key_of_a_repository() -> None:
    sealed = {
        column
        for schema in SCHEMAS.values()
        for table in schema.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.startswith("sealed")
    }
    rewrapped = {each.column for each in COLUMNS}

    assert rewrapped | set(UNDER_REPOSITORY_KEYS) == sealed
    assert not rewrapped & set(UNDER_REPOSITORY_KEYS)
    assert [kind.column for kind in KINDS] == list(COLUMNS)


def test_what_is_too_short_names_no_master_key() -> None:
    assert master_key_number(b"") == master_key_number(b"\x01\0\0\0") == 0
    assert master_key_number(b"\x01\0\0\1\2") == 258
