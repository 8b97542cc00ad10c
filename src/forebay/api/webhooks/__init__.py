"""Webhook endpoints, their deliveries, and the secret of a tenant."""
