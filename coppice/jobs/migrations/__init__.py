"""How our tables came to be: one numbered step after the other, run by Alembic (`jobs.database.migrate`).

A step only adds what the code of the version before can live with: while a fleet is upgraded, old and new processes
share the tables. What is no longer used is dropped a version later.
"""
