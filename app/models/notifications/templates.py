"""The table of texts of mails that stand above those of the files."""
