"""Where bodies and files too large for a row are kept. The composition root opens one of these."""
