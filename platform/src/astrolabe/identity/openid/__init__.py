"""OpenID Connect, both ways: login by somebody else's accounts, and by ours for other sites."""
