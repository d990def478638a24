"""What every HTTP request passes: limits, conditions, problems, WebSockets."""
