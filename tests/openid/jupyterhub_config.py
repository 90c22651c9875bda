"""A JupyterHub that logs people in through the platform by the stock GenericOAuthenticator."""

from __future__ import annotations

import os
from typing import Any

from traitlets.config import get_config

c: Any = get_config()
issuer = os.environ["ISSUER"]
port = os.environ["HUB_PORT"]

c.JupyterHub.bind_url = f"http://127.0.0.1:{port}/"
c.JupyterHub.hub_port = int(os.environ["HUB_INNER_PORT"])
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['HUB_PROXY_PORT']}"
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "generic-oauth"
c.JupyterHub.services = [{"name": "test", "api_token": os.environ["HUB_API_TOKEN"]}]
c.JupyterHub.load_roles = [{"name": "test", "services": ["test"], "scopes": ["admin:users"]}]

c.GenericOAuthenticator.client_id = "jupyterhub"
c.GenericOAuthenticator.client_secret = os.environ["HUB_SECRET"]
c.GenericOAuthenticator.oauth_callback_url = f"http://127.0.0.1:{port}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = f"{issuer}/auth/openid/authorize"
c.GenericOAuthenticator.token_url = f"{issuer}/auth/openid/token"
c.GenericOAuthenticator.userdata_url = f"{issuer}/auth/openid/userinfo"
c.GenericOAuthenticator.scope = ["openid", "profile", "groups", "exec:notebook"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.enable_auth_state = True
c.GenericOAuthenticator.manage_groups = True
c.GenericOAuthenticator.auth_state_groups_key = "oauth_user.groups"
c.GenericOAuthenticator.allowed_groups = {"astronomers"}
