"""Files of users: written whole or not at all, tables in CSV or Parquet, YAML that cannot do harm."""
