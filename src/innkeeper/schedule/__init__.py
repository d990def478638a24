"""Model Task Scheduler 2.0: definitions, XML, calendar, folders, instances."""
