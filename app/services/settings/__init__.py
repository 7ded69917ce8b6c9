"""Settings: what people keep about themselves."""
