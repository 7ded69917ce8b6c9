"""Products: the catalogue, personalisation, stock and what is told of them."""
