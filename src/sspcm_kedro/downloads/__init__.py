"""Published data sets: fetched, resumed, checked and unpacked."""
