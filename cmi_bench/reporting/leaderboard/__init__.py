"""Own runs beside the figures that the paper reports."""
