"""Simple Image Access 2.0: which images there are."""
