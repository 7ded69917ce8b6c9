"""The tables: one file per area. `app.models.registry` imports all of them."""
