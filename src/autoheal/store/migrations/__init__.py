"""The schema's history (Alembic), packaged: it runs without an alembic.ini."""
