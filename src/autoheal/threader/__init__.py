"""The threader: one conversation in Slack for each group of alerts, and an acknowledgement that can be trusted."""
