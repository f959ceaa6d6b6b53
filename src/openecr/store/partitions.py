"""Tables of which PostgreSQL keeps the rows in parts, by a hash of their first key.

SERIALIZABLE watches what a unit has read by the page of an index. All rows of a small table that every push writes to
stand on one page, so that pushes which have nothing to do with each other cannot be serialized. In parts, they seldom
meet. SQLite has one writer and needs none of it.
"""

from sqlalchemy import DDL, Table, event

PARTS = 32


def partition(table: Table) -> None:
    """Have the parts made with the table; its own definition says by which column."""
    for number in range(PARTS):
        statement = (
            f"CREATE TABLE {part_name(table.name, number)} PARTITION OF {table.name} {_values(number)}"
        )
        ddl = DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
        event.listen(table, "after_create", ddl.execute_if(dialect="postgresql"))


def part_name(table_name: str, number: int) -> str:
    """Return the name of a part."""
    return f"{table_name}_p{number:02}"


def _values(number: int) -> str:
    return f"FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {number})"
