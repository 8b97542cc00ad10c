"""Where the news of jobs goes: webhooks. Siblings of targets, which they never import."""
