"""Measured claims: each bench prints one line beside its limit, and one JSON object."""
