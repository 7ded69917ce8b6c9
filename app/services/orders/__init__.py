"""The rules of orders, one file per noun; import from the files, since products and orders use each other."""
