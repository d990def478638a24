"""Join host pipes to guest TCP ports, and the host to each guest's task agent."""
