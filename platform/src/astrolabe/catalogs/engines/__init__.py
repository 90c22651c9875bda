"""Engines; only :mod:`astrolabe.factory` names one."""
