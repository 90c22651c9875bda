"""Cutouts as IVOA's SODA 1.0 asks for them: parameters, the service, the runner of its jobs."""
