"""Simple Cone Search at ``/api/scs``: one service for each table with positions."""
