"""Tests of the notebook in a real JupyterLab."""
