"""One file for each revision of the control database, named after the revision."""
