"""Astrolabe: a science platform for survey astronomy (the domain; no web framework in it)."""
