"""Frozen data that every side shares: request, plan, report, job. Import from the modules."""
