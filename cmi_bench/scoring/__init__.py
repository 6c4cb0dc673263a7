"""From clips to a score table: the plan, Lightning's predict loop, the crash-safe writer."""
