"""What this machine does: durable jobs and submissions a second, each beside a baseline in the same run.

Figures are ratios: machines are shared and noisy, so a rate means little without the bare one measured beside it.
"""
