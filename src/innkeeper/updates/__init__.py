"""Maintain machines at night: bookings, windows, the planner, update runs."""
