"""Programs that developers run; each works on files of its own."""
