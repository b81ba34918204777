"""Tests: tables of cases, properties, and independent references."""
