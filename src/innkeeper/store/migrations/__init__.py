"""Migrations of the tables of older versions, with Alembic."""
