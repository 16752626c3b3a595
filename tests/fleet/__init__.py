"""A fleet of real processes and real servers, and what is done to it."""
