#!/bin/sh
# Run once, when the database is made: three roles, as docs/lab.md has them. No password stands on a command line.
set -eu
for role in farm farm_worker farm_reader; do
  printf "CREATE ROLE %s LOGIN PASSWORD '%s';\n" "$role" "$(cat "${PASSWORDS:-/run/farm}/password-$role")" |
    psql -q -v ON_ERROR_STOP=1 -U postgres
done
createdb -U postgres --owner farm farm
