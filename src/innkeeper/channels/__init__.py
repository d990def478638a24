"""Channels: host pipes joined to guest TCP ports, over sessions with each guest's task agent."""
