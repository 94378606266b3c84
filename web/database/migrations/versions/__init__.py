"""The steps, named by number and subject.

Found by Alembic.
Never imported by anything else."""
