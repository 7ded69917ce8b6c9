"""Tables of notifications: what people are told, what they want to be told, and how it reached them."""
