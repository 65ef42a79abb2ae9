"""Tests of the magics and the live view."""
