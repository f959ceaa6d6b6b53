"""Migrations: a tree for each database. A file that was released is never edited."""
