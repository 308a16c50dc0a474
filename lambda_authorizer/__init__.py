"""An API Gateway Lambda authorizer that denies revoked client certificates."""
