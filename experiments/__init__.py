"""Finished runs turned into tables and pictures; ``python -m experiments.demo`` is what ``make demo`` runs."""
