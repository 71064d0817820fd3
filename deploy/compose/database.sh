# The command of the database's container: it begins as root, whose the secrets are; PostgreSQL reads its own copies.
set -eu
install -d -o postgres -m 0700 /run/farm
install -o postgres -m 0600 /run/secrets/* /run/farm/
exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/run/farm/cert.pem -c ssl_key_file=/run/farm/key.pem \
  -c password_encryption=scram-sha-256 -c hba_file=/farm/pg_hba.conf
