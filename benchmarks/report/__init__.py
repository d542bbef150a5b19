"""Results as tables, figures, README section and report."""
