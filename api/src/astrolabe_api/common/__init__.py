"""What every service shares: context, parameters, errors, middleware, the UWS pattern."""
