"""Administration over HTTP: people, groups, quotas, the audit log."""
